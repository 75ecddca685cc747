"""asyncio tasks as text: the tree, its groups and its limits."""

from __future__ import annotations

from typing import Any

from pystack.model import Snapshot
from pystack.render.task_tree import task_tree, walk
from pystack.render.text import render_text
from pystack.render.text_options import TextOptions
from raw_snapshots import (
    raw_frame,
    raw_snapshot,
    raw_task,
    raw_task_wait,
    raw_thread,
    raw_variable,
)

LOOP = 0x7F0000000020


def snapshot_of(
    *tasks: dict[str, Any], running: int | None = None, busy_s: float | None = None
) -> Snapshot:
    loop = {"id": LOOP, "type": "uvloop.Loop", "running_task": running, "busy_s": busy_s}
    return Snapshot.from_raw(raw_snapshot(raw_thread(event_loop=loop), tasks=list(tasks)))


def lines_of(*tasks: dict[str, Any], running: int | None = None, **options: Any) -> list[str]:
    """Those of the tasks."""
    lines = list(render_text(snapshot_of(*tasks, running=running), TextOptions(**options)))
    begin = next(i for i, line in enumerate(lines) if "vent loop" in line or "event loops" in line)
    return lines[begin:]


def many(count: int, name: str, first: int = 100, **fields: Any) -> list[Any]:
    frames = fields.pop("frames", [raw_frame("fetch")])
    return [raw_task(f"{name}-{i}", id=first + i, frames=frames, **fields) for i in range(count)]


def test_equal_tasks_are_one_group_below_the_one_that_awaits_them() -> None:
    acquire = raw_frame("acquire", file="/usr/lib/python3.13/asyncio/locks.py")
    acquire["qualname"] = "Semaphore.acquire"
    enter = raw_frame("__aenter__", file="/usr/lib/python3.13/asyncio/locks.py")
    frames = [raw_frame("handle"), raw_frame("fetch", line=8), enter, acquire]
    wait = raw_task_wait("semaphore", type="asyncio.locks.Semaphore", holders=[1])
    lines = lines_of(
        raw_task("Task-1", id=1, frames=[raw_frame("main")], waits_for=raw_task_wait("gather")),
        *many(12, "req", awaited_by=[1], frames=frames, waits_for=wait),
    )
    assert lines == [
        "  Event loop of this thread: 13 tasks, no task is running",
        "    Task-1: main > gather",
        '      File "/srv/app.py", line 3, in main',
        "      12 tasks req-0 ... req-11: handle > fetch > Semaphore.acquire (held by Task-1)",
        '        File "/srv/app.py", line 3, in handle',
        '        File "/srv/app.py", line 8, in fetch',
    ]


def test_tasks_with_variables_are_one_group_and_those_of_one_are_shown() -> None:
    def with_variable(value: str) -> list[Any]:
        return [raw_frame("fetch", variables=[raw_variable("row", value)])]

    lines = lines_of(
        *many(2, "req"),
        raw_task("req-2", id=7, frames=with_variable("1")),
        raw_task("req-3", id=8, frames=with_variable("2")),
    )
    assert lines[1:] == [
        "    4 tasks req-0 ... req-3: fetch (the reason for waiting is unknown)",
        '      File "/srv/app.py", line 3, in fetch',
        "        Locals:",
        "          row = 1",
        "      (these are the variables of req-2)",
    ]


def test_a_run_of_trio() -> None:
    loop = {
        "id": LOOP,
        "type": "trio._core._run.Runner",
        "running_task": None,
        "busy_s": None,
    }
    wait = raw_task_wait("task_group", type="trio.Nursery")
    frames = [
        raw_frame("main"),
        raw_frame("NurseryManager.__aexit__", file="/lib/trio/_core/_run.py"),
    ]
    frames[1]["function"] = "__aexit__"
    tasks = [
        raw_task("main", id=1, library="trio", frames=frames, waits_for=wait),
        raw_task("child", id=2, library="trio", awaited_by=[1]),
        raw_task("far", id=3, library="trio", loop=5),
    ]
    snapshot = Snapshot.from_raw(raw_snapshot(raw_thread(event_loop=loop), tasks=tasks))
    lines = list(render_text(snapshot))
    assert "1 thread, 3 trio tasks" in lines[0]
    begin = lines.index("  Run of trio in this thread: 2 tasks, no task is running")
    assert lines[begin + 1 :] == [
        "    main: main > Nursery",
        '      File "/srv/app.py", line 3, in main',
        "      child: work (the reason for waiting is unknown)",
        '        File "/srv/app.py", line 3, in work',
        "",
        "1 trio task of which the thread is unknown:",
        "    far: work (the reason for waiting is unknown)",
        '      File "/srv/app.py", line 3, in work',
    ]


def test_at_most_twenty_groups_unless_all_are_wanted() -> None:
    tasks = [raw_task(f"t{i}", id=100 + i, frames=[raw_frame(f"f{i}")]) for i in range(25)]
    lines = lines_of(*tasks)
    assert lines[-1] == "    ... 5 more tasks are not shown (--tasks shows all)"
    assert len(lines) == 1 + 20 * 2 + 1
    assert len(lines_of(*tasks, all_tasks=True)) == 1 + 25 * 2


def test_a_circle_comes_first() -> None:
    lines = lines_of(
        raw_task("a", id=1, awaited_by=[2]),
        raw_task("b", id=2, awaited_by=[3]),
        raw_task("c", id=3, awaited_by=[1]),
        raw_task("behind it", id=4, awaited_by=[2]),
    )
    assert lines[1] == "    Circle of tasks: a awaits c, which awaits b, which awaits a"
    assert sum("File" in line for line in lines) == 4


def test_long_chains_of_tasks_need_no_recursion() -> None:
    count = 20_000
    tasks = [raw_task(f"t{i}", id=100 + i, awaited_by=[99 + i] if i else []) for i in range(count)]
    groups = task_tree(snapshot_of(*tasks).tasks or ()).groups
    assert [depth for depth, _ in walk(groups)] == list(range(count))
    assert groups[0].total() == count
    assert len(lines_of(*tasks)[-2]) < 200


def test_the_running_task_is_named() -> None:
    lines = lines_of(raw_task("busy", id=7, state="running"), running=7)
    assert lines[0] == "  Event loop of this thread: 1 task, task busy is running"
    assert lines[1] == "    busy: work (running)"


def test_a_loop_that_is_kept_from_waiting() -> None:
    snapshot = snapshot_of(raw_task("busy", id=7, state="running"), running=7, busy_s=3.25)
    (line,) = [line for line in render_text(snapshot) if "Event loop" in line]
    assert line.endswith("task busy is running, not back in the loop for 3.2 s")


def test_details() -> None:
    def details(wait: Any, **fields: Any) -> str:
        return lines_of(raw_task(waits_for=wait, frames=[], **fields))[1]

    assert details(raw_task_wait("sleep", remaining_s=2.25)) == "    Task-1 (2.2 s left)"
    assert details(raw_task_wait("sleep", remaining_s=-1.0)) == "    Task-1 (time is up)"
    assert details(raw_task_wait("sleep")) == "    Task-1"
    assert details(raw_task_wait("process", pid=17)) == "    Task-1 (child process 17)"
    assert details(raw_task_wait("executor")) == "    Task-1 (work in an executor)"
    assert details(raw_task_wait("other", type="a.B")) == "    Task-1 (waits for a.B)"
    assert details(None) == "    Task-1 (the reason for waiting is unknown)"
    assert details(None, state="ready") == "    Task-1 (ready to run)"
    assert details(None, state=None, problem="it is odd") == "    Task-1 (it is odd)"
    assert details(None, state="created", name=None) == "    Task at 0x7f0000000010 (not started)"


def test_names_of_a_hostile_program_are_escaped() -> None:
    text = "\n".join(lines_of(raw_task("\x1b[2Jno\nname", frames=[raw_frame("\x1b]0;x")])))
    assert "\x1b" not in text
    assert "no\nname" not in text


def test_tasks_of_loops_that_are_not_running_come_last() -> None:
    lines = list(render_text(snapshot_of(raw_task("lost", loop=5))))
    assert lines[-3:] == [
        "1 task of event loops that are not running in any thread:",
        "    lost: work (the reason for waiting is unknown)",
        '      File "/srv/app.py", line 3, in work',
    ]


def test_circles_are_said_first() -> None:
    lock = raw_task_wait("lock", type="asyncio.locks.Lock", holders=[1], id=77)
    tasks = [
        raw_task("parent", id=1, waits_for=raw_task_wait("gather")),
        raw_task("child\x1b", id=2, awaited_by=[1], waits_for=lock),
        raw_task(None, id=3, waits_for=raw_task_wait("task", id=3)),
    ]
    raw = raw_snapshot(raw_thread(), tasks=tasks, task_deadlocks=[[1, 2], [3]])
    snapshot = Snapshot.from_raw(raw)
    assert list(render_text(snapshot, TextOptions()))[1:3] == [
        "Deadlock: task parent awaits task child\\x1b in its gather(), which waits for a Lock held by task parent.",
        "Deadlock: Task at 0x3 awaits Task at 0x3.",
    ]
    assert snapshot.to_json_dict()["task_deadlocks"] == [[1, 2], [3]]
