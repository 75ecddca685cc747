"""Recordings with tasks: they are kept beside the threads, and shown in the mode of their own."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from profiler_fakes import MS, BatchWriter, Frame, Wait
from pystack.sampling import FrameKind, SampleState
from pystack_profiler import exporters
from pystack_profiler.cli import record
from pystack_profiler.combine import combined
from pystack_profiler.comparison import compare
from pystack_profiler.profile import ProcessFacts, Profile, Recording
from pystack_profiler.recording_file import Selection, load
from pystack_profiler.report import answer, overview, overview_text
from pystack_profiler.sinks import FileSink
from pystack_profiler.summary import account, findings
from pystack_profiler.view import View

TASKS = View(mode="tasks")


def a_recording(state: int = 0) -> Recording:
    """A thread that runs for 30 ms, and two tasks of its loop."""
    writer = BatchWriter()
    main = writer.thread(100, "MainThread")
    rows = [writer.thread(100, f"tasks {number}", is_of_tasks=True) for number in (1, 2)]
    marker = Frame("<task req-*>", "", -1, -1, kind=FrameKind.MARKER)
    handler = Frame("handler", "app.py", 3)
    for tick in range(1, 4):
        time_ns = (100 + 10 * tick) * MS
        writer.sample(main, time_ns, 10 * MS, [Frame("main", "app.py", 1)], state)
        for row in rows:
            wait = Wait("semaphore", "asyncio.locks.Semaphore", "")
            writer.sample(row, time_ns, 10 * MS, [marker, handler], wait=wait)
    batch = writer.batch()
    batch.stats["task_samples"] = 6
    batch.stats["tasks_unproved"] = 2
    process = ProcessFacts(100, ("app.py",), "3.13.0", start_ns=100 * MS, end_ns=130 * MS)
    profile = Profile(process)
    profile.append(batch)
    recording = Recording(100, ("app.py",), began_ns=100 * MS, ended_ns=130 * MS)
    recording.profiles.append(profile)
    return recording


def folded(recording: Recording, view: View) -> list[str]:
    stream = io.StringIO()
    exporters.FOLDED.export(recording, stream, view)
    return stream.getvalue().splitlines()


SHOWN = ["<task req-*>;handler (app.py);<waiting: Semaphore> 60000"]


def test_tasks_are_not_among_the_threads() -> None:
    recording = a_recording()
    assert folded(recording, View()) == ["main (app.py) 30000"]
    assert folded(recording, TASKS) == SHOWN
    assert recording.sample_count == 3
    lines = account(recording)
    assert lines[0].startswith("3 samples of 1 thread")
    assert "tasks: 6 samples; coverage 100 %; 2 (25 %) lost because the task moved" in lines


def test_the_report_has_the_time_of_all_tasks_as_its_base() -> None:
    recording = a_recording()
    text = "\n".join(overview_text(overview(recording, TASKS, 10)))
    assert "100 % is 60 ms, the time of all tasks" in text
    assert "only 3 samples" in text  # of each task, at the same instants
    assert "<task req-*> > handler > <waiting: Semaphore>" in text
    assert answer(recording, TASKS, "callers", "handler", 5).total_ns == 60 * MS


@pytest.mark.parametrize("in_order", [True, False])
def test_a_recording_file_keeps_tasks(in_order: bool, tmp_path: Path) -> None:
    path = str(tmp_path / "x.pystack")
    FileSink(path, exporters.PYSTACK).write(a_recording())
    loaded = load(path, in_order=in_order)
    assert folded(loaded, View()) == ["main (app.py) 30000"]
    assert folded(loaded, TASKS) == SHOWN
    assert loaded.stats["task_samples"] == 6
    part = load(path, Selection(from_s=0.01, to_s=0.02))
    assert folded(part, TASKS) == [SHOWN[0].replace("60000", "20000")]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT sum(samples), min(waits_for) FROM task_samples")
        assert rows.fetchall() == [(6, "semaphore")]
        assert connection.execute("SELECT sum(samples) FROM samples").fetchall() == [(3,)]
        assert connection.execute("SELECT count(*) FROM threads").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("wanted", "shown"), [("MainThread", SHOWN), ("100", SHOWN), ("worker", [])]
)
def test_tasks_are_chosen_with_the_thread_of_their_loop(
    wanted: str, shown: list[str], tmp_path: Path
) -> None:
    path = str(tmp_path / "x.pystack")
    FileSink(path, exporters.PYSTACK).write(a_recording())
    assert folded(load(path, Selection(threads=(wanted,))), TASKS) == shown


def test_threads_that_waited_for_the_gil_do_not_disturb_a_report_of_tasks() -> None:
    recording = a_recording(SampleState.GIL_KNOWN | SampleState.WAITS_FOR_GIL)
    text = "\n".join(overview_text(overview(recording, TASKS, 10)))
    assert "waited 30 ms for it" in text


def test_tasks_can_be_compared() -> None:
    sides = [a_recording()], [a_recording()]
    assert compare(*sides, TASKS).functions


def test_windows_and_copies_keep_tasks() -> None:
    recording = a_recording()
    assert folded(recording.snapshot(), TASKS) == SHOWN
    assert folded(combined([recording, a_recording()]), TASKS) == [SHOWN[0].replace("60", "120")]
    assert folded(recording.cut(), TASKS) == SHOWN
    assert not recording.has_tasks


@pytest.mark.parametrize("format", exporters.FORMATS, ids=lambda one: one.name)
def test_all_formats_show_tasks(format: exporters.Format, tmp_path: Path) -> None:
    path = tmp_path / f"x{format.suffixes[0]}"
    FileSink(str(path), format, TASKS).write(a_recording())
    assert path.stat().st_size


def test_the_page_has_tasks_beside_threads(tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    FileSink(str(path), exporters.HTML).write(a_recording())
    [text] = re.findall(
        r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text(), re.S
    )
    data = json.loads(text)
    assert data["modes"] == ["wall", "tasks"]
    assert data["initial"]["mode"] == "wall"
    assert [thread["title"] for thread in data["threads"]] == ["MainThread 100"]
    assert [(one["title"], one["tasks"]) for one in data["tasks"]] == [
        ("tasks of MainThread 100", [60_000])
    ]


def test_without_tasks_their_mode_is_said_to_be_empty() -> None:
    recording = a_recording()
    recording.profiles[0].window.task_tracks.clear()
    assert any("mode tasks is empty" in line for line in findings(recording, TASKS))
    assert folded(recording, TASKS) == []


def test_the_options_are_there() -> None:
    names = {name for parameter in record.params for name in parameter.opts}
    assert {"--tasks", "--mode"} <= names
