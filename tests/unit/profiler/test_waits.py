"""What threads wait for: as frames, as times, as a report, and in the file."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from pathlib import Path

import pytest

from profiler_fakes import MS, BatchWriter, Frame, Wait, profile_of, recording_of
from pystack.sampling import WAIT_KINDS, SampleState
from pystack.waits import WaitKind
from pystack_profiler import exporters
from pystack_profiler.exporters import folded, html
from pystack_profiler.profile import Recording
from pystack_profiler.recording_file import BadRecordingFile, load
from pystack_profiler.recording_file.schema import VIEWS, tables_of
from pystack_profiler.report.waits import wait_report, wait_text_lines
from pystack_profiler.sinks import FileSink
from pystack_profiler.summary import findings
from pystack_profiler.view import View
from pystack_profiler.wait_words import wait_reason
from pystack_profiler.waits import lock_blame, wait_totals

_SLEEPS = SampleState.CPU_KNOWN
_RUNS = SampleState.CPU_KNOWN | SampleState.ON_CPU
_WANTS_GIL = _SLEEPS | SampleState.GIL_KNOWN | SampleState.WAITS_FOR_GIL
_DATABASE = Wait("socket", name="10.0.0.5:5432")
_MAIN, _QUERY, _PAY = Frame("main"), Frame("query"), Frame("pay")


def a_recording() -> Recording:
    """pay-1 holds a lock for 30 ms, 20 of these in a query; pay-2 and pay-3 wait for it, 20 ms each."""
    writer = BatchWriter()
    holder = writer.thread(1, "pay-1")
    waiters = [writer.thread(2, "pay-2"), writer.thread(3, "pay-3")]
    lock = Wait("lock", "_thread.RLock", "Account.lock", holder)
    writer.sample(holder, 20 * MS, 20 * MS, [_MAIN, _QUERY], _SLEEPS, wait=_DATABASE)
    writer.sample(holder, 30 * MS, 10 * MS, [_MAIN], _RUNS)
    writer.sample(waiters[0], 20 * MS, 20 * MS, [_PAY], _SLEEPS, wait=lock)
    writer.sample(waiters[0], 25 * MS, 5 * MS, [_PAY], _WANTS_GIL)
    writer.sample(waiters[0], 30 * MS, 5 * MS, [_PAY], _SLEEPS)
    writer.sample(waiters[1], 10 * MS, 10 * MS, [_PAY], _RUNS)
    writer.sample(waiters[1], 30 * MS, 20 * MS, [_PAY], _SLEEPS, wait=lock)
    return recording_of(writer, start_ns=0, end_ns=30 * MS, attempted=7, taken=7)


def lines_of(recording: Recording, view: View) -> list[str]:
    stream = io.StringIO()
    folded.export(recording, stream, view)
    return sorted(stream.getvalue().splitlines())


def saved(recording: Recording, folder: Path) -> Path:
    path = folder / "x.pystack"
    FileSink(str(path), exporters.PYSTACK).write(recording)
    return path


def test_every_kind_has_words() -> None:
    for kind in WAIT_KINDS:
        reason = wait_reason(kind, "queue.Queue", "jobs")
        assert "{" not in reason, kind
        assert "_" not in reason, kind
    of_tasks = {"task", "tasks", "awaitable"}
    assert set(WAIT_KINDS) - of_tasks == set(WaitKind.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wait", "holder", "reason"),
    [
        (
            Wait("lock", "_thread.RLock", "Account.lock"),
            "pay-2",
            "RLock Account.lock, held by pay-2",
        ),
        (Wait("lock", "_thread.lock"), None, "lock"),
        (Wait("queue_item", "queue.Queue", "jobs"), None, "item of Queue jobs"),
        (Wait("queue_item"), None, "item of queue"),
        (Wait("event", "threading.Event", "done"), None, "Event done"),
        (Wait("thread", "threading.Thread", "Thread-7"), "worker", "end of thread worker"),
        (Wait("thread", "threading.Thread", "Thread-7"), None, "end of thread Thread-7"),
        (Wait("import_lock", name="numpy"), None, "import of numpy"),
        (Wait("import_lock"), None, "import"),
        (Wait("socket", name="10.0.0.5:5432"), None, "socket 10.0.0.5:5432"),
        (Wait("process", name="sleep 100"), None, "child sleep 100"),
        (
            Wait("semaphore", "_multiprocessing.SemLock", "Lock._semlock"),
            None,
            "semaphore of multiprocessing Lock._semlock",
        ),
        (Wait("timer"), None, "sleep"),
    ],
)
def test_words(wait: Wait, holder: str | None, reason: str) -> None:
    assert wait_reason(wait.kind, wait.type, wait.name, holder) == reason


def test_the_reason_is_the_innermost_frame() -> None:
    assert lines_of(a_recording(), View()) == [
        "main (app.py) 10000",
        "main (app.py);query (app.py);<waiting: socket 10.0.0.5:5432> 20000",
        "pay (app.py) 15000",
        "pay (app.py);<waiting: GIL> 5000",
        "pay (app.py);<waiting: RLock Account.lock, held by pay-1> 40000",
    ]


def test_the_mode_has_the_time_of_threads_that_wait() -> None:
    assert lines_of(a_recording(), View("waits")) == [
        "main (app.py);query (app.py);<waiting: socket 10.0.0.5:5432> 20000",
        "pay (app.py) 5000",
        "pay (app.py);<waiting: GIL> 5000",
        "pay (app.py);<waiting: RLock Account.lock, held by pay-1> 40000",
    ]


def test_a_name_that_is_known_later_counts() -> None:
    writer = BatchWriter()
    holder, waiter = writer.thread(1), writer.thread(2, "waiter")
    lock = Wait("lock", "_thread.lock", "lock", holder)
    writer.sample(waiter, MS, MS, [_PAY], _SLEEPS, wait=lock)
    writer.rename(holder, 1, "\x1b[31mholder")
    (line,) = lines_of(recording_of(writer), View())
    assert line == r"pay (app.py);<waiting: lock lock, held by \x1b[31mholder> 1000"


def test_threads_without_python_code_have_a_reason_frame() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [], _SLEEPS, wait=Wait("timer"))
    (line,) = lines_of(recording_of(writer), View())
    assert line.startswith("<no Python code>;<")


def test_totals() -> None:
    totals = wait_totals(a_recording())
    assert totals.waited_ns == 70 * MS
    assert totals.unknown_ns == 5 * MS
    assert [(one.kind, one.text, one.time_ns, len(one.threads)) for one in totals.reasons] == [
        ("lock", "RLock Account.lock", 40 * MS, 2),
        ("socket", "socket 10.0.0.5:5432", 20 * MS, 1),
        ("gil", "GIL", 5 * MS, 1),
    ]
    assert [(one.holder.name, one.text, one.time_ns) for one in totals.holders] == [
        ("pay-1", "RLock Account.lock", 40 * MS)
    ]


def test_waiting_time_is_charged_to_the_stack_that_held_the_lock() -> None:
    (profile,) = a_recording().profiles
    holder = profile.tracks[0]
    stacks = [run.stack for run in holder.runs()]
    # Until 10 ms one thread waits, until 20 ms two do, until 30 ms one.
    assert lock_blame(profile) == {
        (holder, stacks[0]): 30 * MS,
        (holder, stacks[1]): 10 * MS,
    }


def test_the_report() -> None:
    report = wait_report(a_recording(), 2)
    text = "\n".join(wait_text_lines(report))
    assert "100 % is 70 ms, the waiting time of all threads" in text
    assert " 57.1 %     40 ms  RLock Account.lock (2 threads)" in text
    assert "and 1 more reason (--limit)" in text
    assert " 57.1 %     40 ms  pay-1 1: RLock Account.lock" in text
    assert " 42.9 %     30 ms  pay-1 1: main > query" in text
    document = report.to_json()
    assert document["unknown_ns"] == 5 * MS
    assert document["reasons"][0]["threads"] == 2
    assert document["stacks"][0]["frames"][1]["name"] == "query"


def test_an_empty_recording_has_no_waits() -> None:
    lines = wait_text_lines(wait_report(recording_of(), 5))
    assert lines[1] == "100 % is 0 ms, the waiting time of all threads"


def test_the_summary_names_the_lock() -> None:
    (line,) = (line for line in findings(a_recording()) if line.startswith("locks:"))
    assert line == (
        'locks: 2 threads waited 40 ms; longest for RLock Account.lock, held by 100/1 "pay-1" (40 ms)'
    )


def test_the_file_has_the_waits(tmp_path: Path) -> None:
    recording = a_recording()
    path = saved(recording, tmp_path)
    for in_order in (True, False):
        loaded = load(str(path), in_order=in_order)
        assert lines_of(loaded, View("waits")) == lines_of(recording, View("waits"))
        assert wait_totals(loaded).holders == wait_totals(recording).holders
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT waits_for, waited_for, holder, sum(weight_ns) FROM samples"
            " WHERE waits_for NOT NULL GROUP BY 1, 2, 3"
        ).fetchall()
    assert rows == [
        ("lock", "Account.lock", "pay-1", 40 * MS),
        ("socket", "10.0.0.5:5432", None, 20 * MS),
    ]


def test_a_holder_without_samples_is_in_the_file(tmp_path: Path) -> None:
    writer = BatchWriter()
    writer.thread(1, "first")
    waiter, holder = writer.thread(2, "waiter"), writer.thread(3, "holder")
    wait = Wait("lock", holder=holder)
    writer.sample(waiter, MS, MS, [_PAY], _SLEEPS, wait=wait)
    profile = profile_of(writer)
    profile.cut()
    writer.sample(waiter, 2 * MS, MS, [_PAY], _SLEEPS, wait=wait)
    profile.append(writer.batch())
    assert [track.identity.name for track in profile.tracks] == ["waiter"]
    recording = Recording(pid=100, profiles=[profile])
    expected = ["pay (app.py);<waiting: lock, held by holder> 1000"]
    assert lines_of(recording, View()) == expected
    assert lines_of(load(str(saved(recording, tmp_path))), View()) == expected


def old_file(path: Path) -> None:
    """Makes it a file of version 1, which had no waits and no tasks."""
    connection = sqlite3.connect(path, isolation_level=None)
    for view in VIEWS:
        connection.execute(f"DROP VIEW {view}")
    connection.execute("DROP TABLE wait")
    for table in ("thread", "sample", "stack_total"):
        rows = [row[:-1] for row in connection.execute(f"SELECT * FROM {table}")]
        connection.execute(f"DROP TABLE {table}")
        connection.execute(tables_of(1)[table])
        places = ",".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES({places})", rows)
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_the_tables_of_version_1_are_what_they_were() -> None:
    assert "wait" not in tables_of(1)
    assert "wait" not in tables_of(1)["sample"]
    assert tables_of(1)["stack_total"] == (
        "CREATE TABLE stack_total(\n    thread INTEGER NOT NULL,\n    stack INTEGER NOT NULL,\n"
        "    state INTEGER NOT NULL,\n    samples INTEGER NOT NULL,\n    weight_ns INTEGER NOT NULL,\n"
        "    cpu_ns INTEGER NOT NULL,\n    runnable_ns INTEGER NOT NULL\n)"
    )


def test_a_file_of_version_1_is_read(tmp_path: Path) -> None:
    path = saved(a_recording(), tmp_path)
    old_file(path)
    for in_order in (True, False):
        loaded = load(str(path), in_order=in_order)
        assert lines_of(loaded, View()) == [
            "main (app.py) 10000",
            "main (app.py);query (app.py) 20000",
            "pay (app.py) 55000",
            "pay (app.py);<waiting: GIL> 5000",
        ]
        assert wait_totals(loaded).unknown_ns == 65 * MS


def test_the_page_blames_the_holder_of_a_lock() -> None:
    """Two threads waited, 20 ms each; of that the holder was in a query for 30 ms and in main for 10."""
    stream = io.StringIO()
    html.export(a_recording(), stream)
    [text] = re.findall(r'type="application/json"[^>]*>(.*?)</script>', stream.getvalue(), re.S)
    data = json.loads(text)
    assert "blame" in data["modes"]
    blamed = [sorted(time for time in thread["blame"] if time) for thread in data["threads"]]
    assert blamed == [[10_000, 30_000], [], []]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE wait SET kind = 'nothing'",
        "UPDATE wait SET name = 9999 WHERE id = 1",
        "UPDATE wait SET holder = -2",
        "UPDATE wait SET holder = 1 << 40",
        "DELETE FROM wait WHERE id = 1",
        "UPDATE sample SET wait = 99",
        "UPDATE stack_total SET wait = 99",
        "PRAGMA user_version = 1",
    ],
)
def test_damaged_waits_are_refused(change: str, tmp_path: Path) -> None:
    path = saved(a_recording(), tmp_path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(change)
    connection.close()
    with pytest.raises(BadRecordingFile):
        load(str(path), in_order="total" not in change)
