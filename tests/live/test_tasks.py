"""asyncio tasks in dumps: the target says itself what its tasks are, for every interpreter."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interpreters import required
from process_state import wait_until
from targets import PROGRAMS, Interpreter
from task_compare import minor_version, task_differences, variable_differences
from tool_runs import dump_json, run_tool
from truthful_target import TruthfulTarget, truthful_target

pytestmark = pytest.mark.live

#: asyncio.run() and names of modules that the program uses came with it.
OLDEST_MINOR = 7
WITH_TASKS = [one for one in required() if one.version[1] >= OLDEST_MINOR]
#: `python -m asyncio ps` came with it.
PSTREE_MINOR = 14


@pytest.fixture(
    scope="module",
    params=WITH_TASKS,
    ids=str,
)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TruthfulTarget]:
    """One process, which every test here looks at in turn."""
    interpreter: Interpreter = request.param
    folder = tmp_path_factory.mktemp("tasks")
    with truthful_target(interpreter, "waiting_tasks.py", folder) as running:
        yield running


@pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])
def test_tasks_are_those_of_the_target(target: TruthfulTarget, options: list[str]) -> None:
    target.wait_for_barrier()
    dump = dump_json(target.pid, *options)
    assert not dump["problems"]
    if found := task_differences(target.truth, dump):
        pytest.fail("\n".join([f"{len(found)} differences:", *found[:40]]), pytrace=False)
    sleeps = [task for task in dump["tasks"] if (task["waits_for"] or {}).get("kind") == "sleep"]
    assert sleeps
    assert all(0 < task["waits_for"]["remaining_s"] <= 100_000 for task in sleeps)


@pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])
def test_variables_of_tasks_are_those_of_the_target(
    target: TruthfulTarget, options: list[str]
) -> None:
    target.wait_for_barrier()
    dump = dump_json(target.pid, "--locals", *options)
    assert not dump["problems"]
    if found := variable_differences(target.truth, dump):
        pytest.fail("\n".join([f"{len(found)} differences:", *found[:40]]), pytrace=False)
    assert all(thread["frames"][0]["variables"] is not None for thread in dump["threads"])
    assert not any(
        frame["variables"] for task in dump_json(target.pid)["tasks"] for frame in task["frames"]
    )


def test_the_text_has_variables_of_one_task_of_each_group(target: TruthfulTarget) -> None:
    shown = run_tool("dump", "--tasks", "--locals", "--no-source", target.pid)
    assert shown.returncode == 0, shown.stderr
    [(names, group, of_whom)] = re.findall(
        r"^ +2 tasks (.*?): has_variables > .*\n((?:.+\n)+?) +\(these are the variables of (.*)\)$",
        shown.stdout,
        re.M,
    )
    assert of_whom == names.split(", ")[0]
    [task] = [task for task in target.truth["tasks"] if task["name"] == "with variables 0"]
    if minor_version(target.truth) >= 8:
        assert of_whom == task["name"]
    assert "        password = <redacted>\n" in group
    if of_whom in (task["name"], f"Task at {task['id']:#x}"):
        assert "        row = {'id': 0, 'states': ['new', ('a', 2)]}\n" in group
    assert "hunter2" not in shown.stdout


def test_threads_have_their_loops(target: TruthfulTarget) -> None:
    dump = dump_json(target.pid)
    loops = {
        thread["event_loop"]["id"]: thread for thread in dump["threads"] if thread["event_loop"]
    }
    assert len(loops) == 2
    by_name = {
        task["name"]: next(one for one in dump["tasks"] if one["id"] == task["id"])
        for task in target.truth["tasks"]
    }
    assert loops[by_name["main"]["loop"]]["is_main"]
    other = loops[by_name["other waiter"]["loop"]]
    assert other["event_loop"]["running_task"] == by_name["runner"]["id"]
    assert by_name["abandoned"]["loop"] not in loops
    assert {loop["event_loop"]["type"] for loop in loops.values()} == {
        "asyncio.unix_events._UnixSelectorEventLoop"
    }


def test_the_text_has_every_task(target: TruthfulTarget) -> None:
    shown = run_tool("dump", "--tasks", target.pid)
    assert shown.returncode == 0, shown.stderr
    for task in target.truth["tasks"]:
        own = [frame for frame in task["frames"] if "/asyncio/" not in frame["file"]]
        for frame in own[-1:]:
            place = f'File "{frame["file"]}", line {frame["line"]}, in '
            assert place in shown.stdout, f"{task['name']} is missing:\n{shown.stdout}"
    assert "Circle of tasks: " in shown.stdout
    if minor_version(target.truth) >= 8:
        assert re.search(
            r"Circle of tasks: (ring .) awaits ring ., which awaits \1\n", shown.stdout
        )
    hidden = run_tool("dump", "--no-tasks", target.pid)
    assert "Event loop" not in hidden.stdout
    assert dump_json(target.pid, "--no-tasks")["tasks"] is None


@pytest.mark.parametrize(
    "interpreter", [one for one in required() if one.version[1] in (9, 12, 14)], ids=str
)
def test_ten_thousand_tasks(interpreter: Interpreter) -> None:
    count = 10_000
    with interpreter.spawn(
        [str(PROGRAMS / "many_tasks.py"), str(count)], stdout=subprocess.PIPE, text=True
    ) as target:
        assert target.process.stdout is not None
        assert target.process.stdout.readline() == "ready\n"
        dump = dump_json(target.pid)
        text = run_tool("dump", target.pid)
    assert not dump["problems"]
    main = [task["id"] for task in dump["tasks"] if not task["awaited_by"]]
    assert len(main) == 1
    places = [
        [frame["function"] for frame in task["frames"]]
        for task in dump["tasks"]
        if task["awaited_by"] == main
    ]
    assert places == [["outer", "middle", "leaf", "sleep"]] * count
    assert re.search(rf"^ +{count} tasks .*outer > middle > leaf > sleep", text.stdout, re.M)


def test_variables_of_two_hundred_tasks() -> None:
    count = 300
    interpreter = WITH_TASKS[-1]
    with interpreter.spawn(
        [str(PROGRAMS / "many_tasks.py"), str(count)], stdout=subprocess.PIPE, text=True
    ) as target:
        assert target.process.stdout is not None
        assert target.process.stdout.readline() == "ready\n"
        dump = dump_json(target.pid, "--locals")
        text = run_tool("dump", "--locals", target.pid)
    read = [task for task in dump["tasks"] if task["frames"][0]["variables"] is not None]
    assert len(read) == 200
    # One of each place comes before a second one.
    assert [task for task in read if not task["awaited_by"]]
    missing = "the variables of 101 tasks were not read: those of at most 200 tasks are"
    assert dump["problems"] == [missing]
    assert missing in text.stdout
    assert re.search(rf"^ +{count} tasks .*outer > middle > leaf > sleep", text.stdout, re.M)


def test_a_program_without_asyncio_has_no_tasks(tmp_path: Any) -> None:
    with truthful_target(required()[0], "small.py", tmp_path) as running:
        for options in ([], ["--no-block"]):
            dump = dump_json(running.pid, *options)
            assert dump["tasks"] == []
            assert {thread["event_loop"] for thread in dump["threads"]} == {None}


@pytest.mark.parametrize(
    "interpreter", [one for one in required() if one.version[1] >= PSTREE_MINOR], ids=str
)
def test_tasks_made_in_c_are_those_of_asyncio_ps(interpreter: Interpreter, tmp_path: Path) -> None:
    """CPython's own tool says the same of the same process. It wants to run beside its target."""
    with truthful_target(interpreter, "waiting_tasks.py", tmp_path, container=True) as running:
        dump = dump_json(running.pid)
        inside = ["nsenter", "--target", str(running.pid), "--mount", "--pid", "--root", "--wd=/"]
        command = [*inside, str(interpreter.executable), "-m", "asyncio", "ps", "1"]
        listed = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    tasks = {task["id"]: task for task in dump["tasks"] if "python" not in task["name"]}
    seen: dict[int, set[int]] = {}
    head, _, *lines = listed.stdout.strip().splitlines()
    at_id, at_name, at_stack = map(head.index, ("task id", "task name", "coroutine stack"))
    for line in lines:
        task = tasks[int(line[at_id:at_name], 16)]
        awaiter = int(line.split()[-1], 16)
        seen.setdefault(task["id"], set()).update({awaiter} - {0})
        # That of 3.14 reads zeros for names that are not ASCII.
        name = line[at_name:at_stack].strip()
        assert name == task["name"] or set(name) == {"\0"}
        stack = re.split(r" {2,}", line[at_stack:].strip())[0].split(" -> ")
        names = [frame["qualname"] for frame in reversed(task["frames"])]
        # It leaves out generators, and calls of the running task.
        if task["name"] not in ("old style", "handmade", "runner"):
            assert stack == names
    # That of 3.14 can miss the tasks of other threads.
    loops = {tasks[address]["loop"] for address in seen}
    listed_loops = loops if interpreter.version < (3, 15) else {t["loop"] for t in tasks.values()}
    assert seen == {
        address: set(task["awaited_by"])
        for address, task in tasks.items()
        if task["loop"] in listed_loops
    }


# A loop that is kept from its work, one that waits, and when the first one began to be kept.
KEPT = """
import asyncio, os, sys, threading, time

async def kept(path):
    await asyncio.sleep(0.01)
    with open(path + ".new", "w") as file:
        file.write(repr(time.monotonic()))
    os.rename(path + ".new", path)
    os.read(os.pipe()[0], 1)

async def waits():
    await asyncio.get_event_loop().create_future()

def run(main):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main)

threading.Thread(target=run, args=(waits(),), name="waiting", daemon=True).start()
threading.Thread(target=run, args=(kept(sys.argv[1]),), name="kept", daemon=True).start()
sys.stdin.read()
"""


@pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])
@pytest.mark.parametrize("interpreter", WITH_TASKS, ids=str)
def test_how_long_a_loop_has_not_come_back(
    interpreter: Interpreter, tmp_path: Path, options: list[str]
) -> None:
    since = tmp_path / "since"
    with interpreter.spawn(["-c", KEPT, str(since)], stdin=subprocess.PIPE) as target:
        wait_until(since.exists, "the loop that is kept")

        def loops() -> dict[str, Any]:
            threads = dump_json(target.pid, *options)["threads"]
            return {thread["name"]: thread["event_loop"] for thread in threads}

        # The other one may still be on its way.
        wait_until(lambda: (loops()["waiting"] or {"busy_s": 0})["busy_s"] is None, "both loops")
        before = time.monotonic()
        found = loops()
        after = time.monotonic()
    kept_since = float(since.read_text())
    # It came back from its sleep a moment before it took the time.
    assert before - kept_since <= found["kept"]["busy_s"] <= after - kept_since + 1
    assert found["MainThread"] is None


@pytest.mark.parametrize("interpreter", WITH_TASKS, ids=str)
def test_circles_of_tasks(interpreter: Interpreter, tmp_path: Path) -> None:
    facts = tmp_path / "facts"
    with interpreter.spawn([str(PROGRAMS / "task_circles.py"), str(facts)]) as target:
        wait_until(facts.exists, "the tasks wait")
        truth = json.loads(facts.read_text())
        dump = dump_json(target.pid)
        moving = dump_json(target.pid, "--no-block")
        shown = run_tool("dump", "--no-source", target.pid)
    names = [[truth["names"][str(one)] for one in circle] for circle in dump["task_deadlocks"]]
    assert sorted(map(sorted, names)) == sorted(map(sorted, truth["circles"]))
    three = next(circle for circle in names if len(circle) == 3)
    order = [int(name[0]) for name in three]
    assert [(one + 1) % 3 for one in order] == [*order[1:], order[0]]
    # Not at one moment.
    assert moving["task_deadlocks"] == []
    sentences = re.findall(r"^Deadlock: .*[.]$", shown.stdout, re.M)
    assert len(sentences) == len(truth["circles"])
    assert sum(sentence.count(" waits for a Lock held by ") for sentence in sentences) == 7
    assert sum(" awaits " in one and " in its gather()" in one for one in sentences) == 1
