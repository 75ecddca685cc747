"""A process that does not move gives the same answer alive, in gdb's core, and in the kernel's."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core_files import (
    core_json,
    gcore,
    kernel_core,
    mortal_target,
    need_gdb,
    need_kernel_cores,
    script_target,
    search_options,
)
from interpreters import required
from process_state import FUTEX_SYSCALL, READ_SYSCALL, system_call, thread_ids, wait_until
from targets import Interpreter
from tool_runs import dump_json

pytestmark = pytest.mark.live

PROGRAMS = ("stage.py", "deep.py", "subinterpreters.py", "forked.py", "finalizing.py")
# gdb writes every page of every stack: of 100,000 frames that is a gigabyte. For hundreds of
# threads without a GIL, each with a heap, it is several.
WITH_GCORE = ("stage.py", "subinterpreters.py", "forked.py", "finalizing.py")
IN_A_CONTAINER = ("3.13-pyenv", "3.15-debian-sid")

# What a core cannot have, or what is said of the reading and not of the process.
ONLY_LIVE = ("kernel_name", "run_state", "namespace_tid")
OF_THE_READING = (
    *("tool", "time", "time_ns", "kind", "stopped", "stop_ns", "was_stopped", "attempts"),
    *("namespace_pid", "core"),
)

# Two threads want the GIL, which a third one has and does not give away. One collects garbage, one
# handles an exception.
STATES = """
import ctypes, gc, threading, time

gate = os.pipe()[0]
ready = []

def wants_the_gil():
    ready.append(1)
    while True:
        time.sleep(0.001)

def in_collector(phase, info):
    if threading.current_thread().name == "collector":
        ready.append(1)
        os.read(gate, 1)

def handles():
    try:
        {}["nothing"]
    except KeyError:
        ready.append(1)
        os.read(gate, 1)

def starts(function, name):
    threading.Thread(target=function, name=name, daemon=True).start()

gc.callbacks.append(in_collector)
starts(gc.collect, "collector")
starts(handles, "handler")
starts(wants_the_gil, "wants-1")
starts(wants_the_gil, "wants-2")
while len(ready) < 4:
    time.sleep(0.001)
ctypes.PyDLL(None).read(gate, ctypes.create_string_buffer(1), 1)
"""


def differences(live: Any, core: Any, place: str = "") -> Iterator[str]:
    """The fields that differ, in words. A difference as long as a stack is told once."""
    if isinstance(live, dict) and isinstance(core, dict):
        for key in sorted({*live, *core}):
            yield from differences(live.get(key), core.get(key), f"{place}.{key}")
    elif isinstance(live, list) and isinstance(core, list) and len(live) == len(core):
        for index, pair in enumerate(zip(live, core, strict=True)):
            yield from differences(*pair, f"{place}[{index}]")
    elif live != core:
        sizes = f" ({len(live)} and {len(core)})" if isinstance(live, list) else ""
        yield f"{place}{sizes}: {str(live)[:200]} alive, {str(core)[:200]} in the core"


#: A core has no clock, and 3.6 waits for locks again and again, each time for what is left.
NO_TIME = {"left_ns": None, "timeout_ns": None}


def in_a_core(wait: dict[str, Any] | None) -> dict[str, Any] | None:
    """A core has the numbers of descriptors and children, not what they were, other processes and no clock."""
    if wait is None:
        return None
    files = ("socket", "pipe", "terminal", "file")
    kind = "descriptor" if wait["kind"] in files else wait["kind"]
    return {**wait, "kind": kind, "target": None, "command": None, "other_ends": [], **NO_TIME}


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in document.items() if key not in OF_THE_READING}
    kept["threads"] = [
        {
            **{key: value for key, value in thread.items() if key not in ONLY_LIVE},
            "waits_for": in_a_core(thread["waits_for"]),
            "event_loop": thread["event_loop"] and {**thread["event_loop"], "busy_s": None},
        }
        for thread in document["threads"]
    ]
    # A core does not say what time it was on the clock that sleeps are measured with.
    kept["tasks"] = [
        {
            **task,
            "waits_for": task["waits_for"] and {**task["waits_for"], "remaining_s": None},
            "frames": task["frames"],
        }
        for task in document["tasks"]
    ]
    return kept


def assert_same(live: dict[str, Any], core: dict[str, Any]) -> None:
    alive, dead = comparable(live), comparable(core)
    for one, other in zip(alive["threads"], dead["threads"], strict=False):
        # A process that was stopped before continues its calls by restart_syscall, and then a core does
        # not always say what it waits for.
        if other["waits_for"] is None or other["waits_for"]["kind"] == "futex":
            one["waits_for"] = other["waits_for"]
        elif other["waits_for"]["kind"] == "poll" and other["waits_for"]["file_count"] is None:
            one["waits_for"]["file_count"] = None
    found = list(differences(alive, dead))
    if found:
        # Not an assertion: pytest would print both sides, which are megabytes.
        pytest.fail("\n".join([f"{len(found)} differences:", *found[:40]]), pytrace=False)
    assert core["kind"] == "core"
    for thread in core["threads"]:
        assert [thread[name] for name in ONLY_LIVE] == [None] * len(ONLY_LIVE)


def assert_killed_by(core: dict[str, Any], number: int) -> None:
    assert core["core"]["signal"] == number
    assert core["core"]["terminating_tid"] in [thread["tid"] for thread in core["threads"]]
    assert not core["core"]["truncated"]


def as_seen_inside(live: dict[str, Any], interpreter: Interpreter) -> dict[str, Any]:
    """The kernel names files as the process did, which may have a root of its own."""
    if interpreter.root is None:
        return live
    inside = "/" + str(Path(live["executable"]).relative_to(interpreter.root))
    return {**live, "executable": inside}


def without_lost_stacks(
    live: dict[str, Any], core: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both without the stacks that older gdbs write as zeros, on which frames begin from 3.15 on.

    The core has to say that they are missing, and must still have all threads.
    """
    if not any("no stack memory" in problem for problem in core["problems"]):
        return live, core
    assert {"its calls are missing, as the stack of its thread is", None} >= {
        task["problem"] for task in core["tasks"]
    }
    cut = [one["id"] for one in core["tasks"] if one["problem"] is not None]
    assert {one["state"] for one in core["tasks"] if one["id"] in cut} <= {"running"}
    lost = {one["tid"] for one in core["threads"] if one["stack_end"] == "unreadable"}
    gone = {"frames": [], "stack_end": "unreadable", "stack_problem": ""}
    pair = tuple(
        {
            **document,
            "problems": [],
            "tasks": [
                {**one, "frames": [], "problem": ""} if one["id"] in cut else one
                for one in document["tasks"]
            ],
            "threads": [
                {**one, **gone} if one["tid"] in lost else one for one in document["threads"]
            ],
        }
        for document in (live, core)
    )
    return pair[0], pair[1]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("interpreter", required(), ids=str)
def test_programs(interpreter: Interpreter, program: str, tmp_path: Path) -> None:
    need_kernel_cores()
    with mortal_target(interpreter, program, tmp_path) as target:
        live = dump_json(target.pid)
        if program in WITH_GCORE and not (interpreter.free_threaded and program == "stage.py"):
            need_gdb()
            path = gcore(target.pid, tmp_path)
            on_demand = core_json(path)
            path.unlink()
            assert_same(*without_lost_stacks(live, on_demand))
            assert on_demand["core"]["cause"] == "generated on demand"
        core = core_json(
            kernel_core(target.pid, tmp_path, signal.SIGABRT), *search_options(interpreter)
        )
    assert_same(as_seen_inside(live, interpreter), core)
    assert_killed_by(core, signal.SIGABRT)


@pytest.mark.parametrize("interpreter", required(), ids=str)
def test_states_of_threads(interpreter: Interpreter, tmp_path: Path) -> None:
    """GIL, garbage collection and exceptions."""
    need_kernel_cores()
    need_gdb()
    with script_target(interpreter, STATES, tmp_path) as target:
        pid = target.pid
        wait_until(lambda: are_in_their_calls(pid, interpreter), "all threads are at their places")
        live = dump_json(pid)
        on_demand = core_json(gcore(pid, tmp_path))
        core = core_json(kernel_core(pid, tmp_path, signal.SIGABRT), *search_options(interpreter))
    states = {thread["name"]: thread for thread in live["threads"]}
    if interpreter.version >= (3, 7):
        assert states["handler"]["handling"] == "KeyError"
    if not interpreter.free_threaded:
        assert {name: thread["gil"] for name, thread in states.items()} == {
            "MainThread": "holds",
            "wants-1": "waits",
            "wants-2": "waits",
            "collector": "none",
            "handler": "none",
        }
        if interpreter.version >= (3, 7):
            assert [one["gc_collecting"] for one in live["interpreters"]] == [True]
        assert_same(*without_lost_stacks(live, on_demand))
        assert_same(as_seen_inside(live, interpreter), core)
    else:
        # Who wants no GIL sleeps and wakes up.
        handlers = [
            next(thread for thread in one["threads"] if thread["name"] == "handler")
            for one in (live, on_demand, core)
        ]
        assert [one["handling"] for one in handlers] == ["KeyError"] * 3
        assert handlers[0]["gil"] == handlers[1]["gil"] == handlers[2]["gil"]


def are_in_their_calls(pid: int, interpreter: Interpreter) -> bool:
    calls = sorted(system_call(pid, tid)[0] for tid in thread_ids(pid))
    if interpreter.free_threaded:
        return calls.count(READ_SYSCALL) == 3
    return calls == sorted([READ_SYSCALL] * 3 + [FUTEX_SYSCALL] * 2)


@pytest.mark.parametrize(
    "interpreter", [one for one in required() if one.name in IN_A_CONTAINER], ids=str
)
def test_in_a_container(interpreter: Interpreter, tmp_path: Path) -> None:
    """gdb outside, and a process with pids and files of its own."""
    need_gdb()
    with mortal_target(interpreter, "finalizing.py", tmp_path, container=True) as target:
        live = dump_json(target.pid)
        core = core_json(gcore(target.pid, tmp_path), *search_options(interpreter))
    assert_same(*without_lost_stacks(live, core))
