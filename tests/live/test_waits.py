"""What threads wait for, and who can end it, for every interpreter: stopped, running, and as a core.

`programs/waits.py` has a thread for each reason and says what a reader must say of it;
`programs/deadlocks.py` has circles.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pystack_profiler
from core_files import SMALL, core_json, kernel_core, limits, need_kernel_cores, search_options
from interpreters import TRIO_MINORS, required
from lock_truth import LockTruth
from process_state import run_and_wait_ns, system_call, thread_ids, wait_until
from pystack_profiler import Progress
from pystack_profiler.idle import IdleStacks
from recorded_waits import Reason, RecordedWaits, record_waits
from targets import PROGRAMS, Interpreter, Target
from tool_runs import dump_json, run_tool
from wheels import package_for

pytestmark = pytest.mark.live

CIRCLES = [
    "plain",
    "recursive",
    "three",
    "mixed",
    "itself",
    "managed",
    "joined",
    "lock_and_join",
    "held_after_an_exception",
    "mutexes",
    "not_one",
]


def at_rest(pid: int, threads: int) -> bool:
    """Whether all threads are blocked in system calls, and none has run between two looks."""
    before = run_times(pid)
    if len(before) != threads or any(system_call(pid, tid)[0] == "running" for tid in before):
        return False
    return before == run_times(pid)


def run_times(pid: int) -> dict[int, int]:
    return {tid: run_and_wait_ns(pid, tid)[0] for tid in thread_ids(pid)}


class Waiting:
    """A program all of whose threads have arrived, and its facts."""

    def __init__(self, target: Target, facts: dict[str, Any]) -> None:
        self.pid = target.pid
        self.facts = facts


def started(interpreter: Interpreter, folder: Path, program: str, *arguments: str) -> Any:
    path = folder / "facts.json"
    return interpreter.spawn(
        [str(PROGRAMS / program), str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=SMALL,
        preexec_fn=limits,
    )


def arrive(target: Target, folder: Path) -> Waiting:
    path = folder / "facts.json"

    def told() -> bool:
        assert target.process.poll() is None
        return path.exists()

    wait_until(told, "facts")
    facts = json.loads(path.read_text())
    looks = []

    def still() -> bool:
        looks.append(at_rest(target.pid, facts["threads"]))
        # A thread on its way may wait for the GIL, which takes at most some switch intervals.
        return len(looks) >= 10 and all(looks[-10:])

    wait_until(still, "threads at rest")
    return Waiting(target, facts)


def rest(pid: int, threads: int) -> None:
    """Threads that were stopped go back into their system calls when it is their turn."""
    wait_until(lambda: at_rest(pid, threads), "threads at rest")


def dump_both_ways(pid: int, threads: int) -> list[dict[str, Any]]:
    """With a stop and without."""
    stopped = dump_json(pid)
    rest(pid, threads)
    return [stopped, dump_json(pid, "--no-block")]


@pytest.fixture(scope="module", params=required(musl=True), ids=str)
def waiting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Waiting]:
    folder = tmp_path_factory.mktemp("waits")
    with started(request.param, folder, "waits.py") as target:
        yield arrive(target, folder)


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {thread["name"]: thread for thread in document["threads"]}


def differences(document: dict[str, Any], facts: dict[str, Any], leave_out: set[str]) -> list[str]:
    threads = by_name(document)
    found = []
    for name, expected in facts["waits"].items():
        wait = threads[name]["waits_for"]
        wanted = {key: value for key, value in expected.items() if key not in leave_out}
        holder = wanted.pop("holder", None)
        holders = wanted.pop("holders", [] if holder is None else [holder])
        if wait is None:
            found.append(f"{name}: nothing instead of {expected}")
            continue
        told = {key: wait[key] for key in wanted}
        if "other_ends" in told:
            told["other_ends"] = [end["pid"] for end in told["other_ends"]]
        # The kernel says where a path is seen from here, which may be outside of the target's root.
        if wanted.get("target", "").startswith("/") and told["target"] is not None:
            told["target"] = told["target"][-len(wanted["target"]) :]
        if told != wanted:
            found.append(f"{name}: {told} instead of {wanted}")
        owners = [(one["python_thread_id"], one["proof"]) for one in wait["holders"]]
        known = [(threads[name]["python_thread_id"], proof) for name, proof in holders]
        if sorted(owners) != sorted(known):
            found.append(f"{name}: held by {owners} instead of {known}")
    return found


@pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])
def test_what_threads_wait_for(waiting: Waiting, options: list[str]) -> None:
    rest(waiting.pid, waiting.facts["threads"])
    document = dump_json(waiting.pid, *options)
    assert not differences(document, waiting.facts, set())


def recorded_difference(reason: Reason | None, expected: dict[str, Any]) -> str | None:
    """What a recording says of a thread and should not, in the terms of a dump."""
    if reason is None:
        return f"nothing instead of {expected}"
    target = expected.get("target") or ""
    name = expected.get("name") or target.removeprefix("unix socket").strip()
    if expected["kind"] == "socket" and " -> " in name:
        name = name.partition(" -> ")[2]
    if expected["kind"] == "socket" and not target.startswith("unix"):
        name = name.removeprefix("TCP ").removeprefix("UDP ").partition(",")[0]
    holder = (
        expected.get("holder")
        if expected["kind"] in ("lock", "mutex", "thread", "import_lock")
        else None
    )
    is_right = (
        reason.kind == expected["kind"]
        and ("type" not in expected or reason.type == expected["type"])
        # The kernel says where a path is seen from here.
        and (
            reason.name.endswith(name)
            if target.startswith("/")
            else not name or reason.name == name
        )
        and reason.holder == (holder[0] if holder else "")
    )
    return None if is_right else f"{reason} instead of {expected}"


@pytest.mark.parametrize("stop", [False, True], ids=["not stopped", "stopped"])
def test_what_a_recording_says_that_threads_wait_for(waiting: Waiting, stop: bool) -> None:
    expected = waiting.facts["waits"]

    def differences(recorded: RecordedWaits) -> dict[str, str]:
        """Of the reasons that say most. Threads that are stopped take turns at being asked."""
        found = {}
        for name, facts in expected.items():
            reasons = sorted(recorded.seen(name), key=lambda one: (one.holder, one.name))
            difference = recorded_difference(reasons[-1] if reasons else None, facts)
            if difference is not None:
                found[name] = difference
        return found

    recorded = record_waits(waiting.pid, lambda recorded: not differences(recorded), stop=stop)
    assert not differences(recorded)
    # Before all was known, less was said, but nothing else.
    for name, facts in expected.items():
        reasons = recorded.seen(name)
        assert {one.kind for one in reasons} == {facts["kind"]}, name
        assert len({one.name for one in reasons} - {""}) <= 1, (name, reasons)
        assert len({one.holder for one in reasons} - {""}) <= 1, (name, reasons)


def test_a_recording_says_which_threads_are_idle(waiting: Waiting) -> None:
    """Of all kinds of waits only those for work."""
    expected = {"pool_0", "runs_event_loop"}
    seen: set[str] = set()
    idle: set[str] = set()

    def look(progress: Progress) -> None:
        [profile] = progress.recording.profiles
        stacks = IdleStacks(profile)
        for track in profile.tracks:
            seen.update(track.identity.name for run in track.runs() if run.samples)
            idle.update(track.identity.name for run in track.runs() if stacks.is_idle(run))

    pystack_profiler.record(
        waiting.pid,
        duration_s=60,
        stop_requested=lambda: idle >= expected and seen >= set(waiting.facts["waits"]),
        on_progress=look,
    )
    assert idle == expected
    assert seen >= set(waiting.facts["waits"])


def test_the_wait_of_a_thread_is_in_its_head(waiting: Waiting) -> None:
    lines = run_tool("dump", waiting.pid).stdout.splitlines()
    text = "\n".join(line for line in lines if line.startswith("Thread"))
    owner = by_name(dump_json(waiting.pid))["with_lock"]["waits_for"]["holders"][0]["tid"]
    assert f"waiting for a lock (Account.lock), held by {owner} " in text
    assert "in a with block at waits.py:" in text
    assert '"lock_of_itself" [waiting for a lock (with_taken), held by itself in a with' in text
    assert '"lock_without_known_holder" [waiting for a lock (taken), holder unknown]' in text
    assert '"reads_pipe" [waiting for a pipe (fd ' in text
    assert "), whose other end only this process is seen to have]" in text
    assert '"gets_from_queue" [waiting for an item of a Queue (empty)]' in text


@pytest.mark.parametrize("interpreter", required(musl=True), ids=str)
def test_threads_that_wait_for_one_lock_are_shown_once(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    with started(interpreter, tmp_path, "one_lock.py", "100") as target:
        arrive(target, tmp_path)
        lines = run_tool("dump", target.pid).stdout.splitlines()
        assert len(dump_json(target.pid)["threads"]) == 101
    (head,) = [line for line in lines if line.startswith("Threads")]
    assert ", 92 more " in head
    assert "[waiting for a lock (LOCK), holder unknown] (100 threads, most recent call" in head
    assert sum("in take" in line for line in lines) == 1


@pytest.mark.parametrize("interpreter", required(musl=True), ids=str)
def test_a_thread_in_uninterruptible_sleep(interpreter: Interpreter, tmp_path: Path) -> None:
    """Its child shares its memory until it has run a program, and waits to open a FIFO."""
    with started(interpreter, tmp_path, "vfork.py") as target:
        fifo = tmp_path / "fifo"
        try:
            wait_until(lambda: "\nState:\tD" in status(target.pid), "uninterruptible sleep")
            for options in ([], ["--no-block"]):
                (thread,) = dump_json(target.pid, *options)["threads"]
                wait = thread["waits_for"]
                assert (wait["kind"], thread["run_state"]) == ("kernel", "D")
                function = (Path("/proc") / str(target.pid) / "wchan").read_text()
                assert wait["kernel_function"] == (None if function == "0" else function)
                assert wait["kernel_function"] in wait["kernel_stack"] or os.geteuid() != 0
            text = run_tool("dump", target.pid).stdout
            assert f"waiting in the kernel, at {function} of the kernel" in text
        finally:
            # The child goes on.
            os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))


def status(pid: int) -> str:
    return (Path("/proc") / str(pid) / "status").read_text()


@pytest.mark.parametrize("interpreter", required(musl=True), ids=str)
def test_in_a_core(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    with started(interpreter, tmp_path, "waits.py") as target:
        facts = arrive(target, tmp_path).facts
        path = kernel_core(target.pid, tmp_path, signal.SIGABRT)
    document = core_json(path, *search_options(interpreter))
    live_kinds = {"socket", "pipe", "terminal", "file"}
    for wait in facts["waits"].values():
        if wait["kind"] in live_kinds:
            wait["kind"] = "descriptor"
    del facts["waits"]["locks_file"]["pid"]
    assert not differences(document, facts, {"target", "other_ends"})


@pytest.mark.parametrize("kind", CIRCLES)
@pytest.mark.parametrize("interpreter", required(musl=True), ids=str)
def test_deadlocks(interpreter: Interpreter, tmp_path: Path, kind: str) -> None:
    with started(interpreter, tmp_path, "deadlocks.py", kind) as target:
        facts = arrive(target, tmp_path).facts
        documents = dump_both_ways(target.pid, facts["threads"])
        text = run_tool("dump", target.pid).stdout
    for document in documents:
        names = [thread["name"] for thread in document["threads"]]
        circles = [[names[index] for index in circle] for circle in document["deadlocks"]]
        assert circles == ([facts["circle"]] if facts["circle"] else [])
    first = text.splitlines()[1]
    assert first.startswith("Deadlock: ") == bool(facts["circle"])
    assert text.count("Threads ") == 0


TASK_LOCKS = [
    (one, kind)
    for one in required(musl=True)
    for kind in ("itself", "circle", "free", "manager", "released", "condition", "trio")
    if kind != "trio" or (one.version[1] in TRIO_MINORS and not one.musl)
]


@pytest.mark.parametrize(("interpreter", "kind"), TASK_LOCKS, ids=str)
def test_locks_that_tasks_hold(interpreter: Interpreter, tmp_path: Path, kind: str) -> None:
    packages = [str(package_for(interpreter, "trio", tmp_path))] if kind == "trio" else []
    with started(interpreter, tmp_path, "task_locks.py", kind, *packages) as target:
        facts = arrive(target, tmp_path).facts
        documents = [dump_json(target.pid)]
        first, *lines = run_tool("dump", target.pid).stdout.splitlines()[1:]
        core = kernel_core(target.pid, tmp_path, signal.SIGABRT)
    documents.append(core_json(core, *search_options(interpreter)))
    for document in documents:
        threads = by_name(document)
        holders = threads[facts["waiter"]]["waits_for"]["holders"]
        expected = [(threads["loop"]["tid"], facts["task"], "with_block", "task_locks.py")]
        told = [(one["tid"], one["task"], one["proof"], Path(one["file"]).name) for one in holders]
        assert told == (expected if facts["task"] else [])
        names = [thread["name"] for thread in document["threads"]]
        circles = [[names[index] for index in circle] for circle in document["deadlocks"]]
        assert circles == ([facts["circle"]] if facts["circle"] else [])
    assert first.startswith("Deadlock: ") == bool(facts["circle"])
    if facts["task"]:
        loop = (
            "its own event loop" if kind in ("itself", "trio") else r'the event loop of \d+ "loop"'
        )
        head = rf'Thread \d+ "{facts["waiter"]}" \[waiting for a lock \(LOCK\), held by'
        task = rf"(a )?[Tt]ask .* of {loop} in a with block at task_locks.py:\d+\]"
        assert any(re.match(f"{head} {task}", line) for line in lines)


def test_thousands_of_tasks_do_not_hide_what_threads_wait_for(tmp_path: Path) -> None:
    with started(required()[-1], tmp_path, "crowded_locks.py") as target:
        arrive(target, tmp_path)
        document = dump_json(target.pid)
    assert len(document["tasks"]) > 10_000
    assert len(document["deadlocks"]) == 1


@pytest.mark.parametrize("interpreter", required(musl=True), ids=str)
def test_a_main_thread_that_only_looks_as_if_it_had_ended(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    with started(interpreter, tmp_path, "ends.py", "own") as target:
        arrive(target, tmp_path)
        (main,) = [one for one in dump_json(target.pid)["threads"] if one["is_main"]]
    assert main["waits_for"]["kind"] == "lock"


@pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])
@pytest.mark.parametrize("interpreter", required(musl=True), ids=str)
def test_a_main_thread_that_has_ended(
    interpreter: Interpreter, options: list[str], tmp_path: Path
) -> None:
    with started(interpreter, tmp_path, "ends.py") as target:
        arrive(target, tmp_path)
        (main,) = [one for one in dump_json(target.pid, *options)["threads"] if one["is_main"]]
        text = run_tool("dump", target.pid, *options).stdout
    assert main["waits_for"]["kind"] == "thread"
    assert re.search(r'"MainThread" \[waiting for (a thread|thread \d+ "goes on") to end\]', text)


POOLS = [
    "full",
    "one_worker",
    "one_is_busy",
    "each_other",
    "working",
    "processes",
    "another_loop",
    "own_loop",
    "own_loop_later",
    "loop_and_lock",
]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("interpreter", required(musl=True), ids=str)
def test_futures_of_pools(interpreter: Interpreter, tmp_path: Path, kind: str) -> None:
    with started(interpreter, tmp_path, "pools.py", kind) as target:
        facts = arrive(target, tmp_path).facts
        documents = dump_both_ways(target.pid, facts["threads"])
        first = run_tool("dump", target.pid).stdout.splitlines()[1]
        core = kernel_core(target.pid, tmp_path, signal.SIGABRT)
    documents.append(core_json(core, *search_options(interpreter)))
    for document in documents:
        names = {thread["tid"]: thread["name"] for thread in document["threads"]}
        waits = {thread["name"]: thread["waits_for"] for thread in document["threads"]}
        for name, (proof, workers) in facts["waits"].items():
            assert waits[name]["kind"] == "future"
            assert sorted(names[holder["tid"]] for holder in waits[name]["holders"]) == workers
            assert {holder["proof"] for holder in waits[name]["holders"]} <= {proof}
            pids = sorted(process["pid"] for process in waits[name]["pool_processes"])
            assert pids == facts["processes"]
        circles = [
            sorted(names[document["threads"][i]["tid"]] for i in circle)
            for circle in document["deadlocks"]
        ]
        assert circles == ([facts["circle"]] if facts["circle"] else [])
    assert first.startswith("Deadlock: ") == bool(facts["circle"])


PROCESS_CIRCLES = [
    "pipes",
    "sockets",
    "through_a_third",
    "through_one_that_sleeps",
    "with_another_thread",
    "with_a_timer",
    "one_is_stopped",
    "fifos",
    "full_pipe",
]
#: The numbers of the system calls of children.
CALLS = {"read": "0", "write": "1", "recv": "45"}


# The kernel says it all, whatever the version.
@pytest.mark.parametrize("kind", PROCESS_CIRCLES)
@pytest.mark.parametrize("interpreter", [required(musl=True)[0], required(musl=True)[-1]], ids=str)
def test_processes_that_wait_for_each_other(
    interpreter: Interpreter, tmp_path: Path, kind: str
) -> None:
    with started(interpreter, tmp_path, "process_circles.py", kind) as target:
        facts = arrive(target, tmp_path).facts
        child, call = facts["child"], CALLS[facts["child_call"]]
        wait_until(
            lambda: all(
                at_rest(pid, 1) and system_call(pid, pid)[0] == call
                for pid in [child, *facts["others"]]
            ),
            "the children at rest",
        )
        documents = [dump_json(target.pid), dump_json(target.pid, "--no-block")]
        text = run_tool("dump", target.pid).stdout
        os.killpg(target.pid, signal.SIGKILL)
    for document in documents:
        (main,) = [thread for thread in document["threads"] if thread["is_main"]]
        wait = main["waits_for"]
        assert (wait["kind"], wait["peer_wait"]) == (facts["kind"], facts["peer_wait"])
        assert document["deadlocks"] == ([[0]] if facts["circle"] else [])
        in_circle = [child, *facts["others"]] if facts["circle"] else []
        assert sorted(peer["pid"] for peer in wait["process_circle"]) == sorted(in_circle)
    first = text.splitlines()[1]
    assert first.startswith("Deadlock: ") == facts["circle"]
    if facts["circle"]:
        assert f" {child} (" in first
        last = "socket" if facts["peer_wait"] == "socket" else "pipe"
        assert f"{last} whose other end only " in first
        assert first.endswith("have." if facts["others"] else "only this process has.")


TRAFFIC_DUMPS = 100
#: Of processes that leave no CPU to anybody else.
RING_DUMPS = 20


@pytest.mark.parametrize("interpreter", required(musl=True)[-1:], ids=str)
def test_processes_that_work_for_each_other_are_no_circle(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    with started(interpreter, tmp_path, "process_ring.py") as target:
        wait_until((tmp_path / "facts.json").exists, "facts")
        for _ in range(RING_DUMPS):
            for options in ([], ["--no-block"]):
                assert dump_json(target.pid, *options)["deadlocks"] == []


@pytest.mark.parametrize("interpreter", required(musl=True), ids=str)
def test_no_false_holder_and_no_false_circle(interpreter: Interpreter, tmp_path: Path) -> None:
    """`benchmarks/lock_holders.py` does the same, as often as is wanted."""
    with started(interpreter, tmp_path, "lock_traffic.py") as target:
        path = tmp_path / "facts.json"
        wait_until(path.exists, "facts")
        truth = LockTruth(json.loads(path.read_text())["locks"])
        for _ in range(TRAFFIC_DUMPS):
            truth.check(target.pid)
    assert not truth.wrong
    assert truth.named > 0
