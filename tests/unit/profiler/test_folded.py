from __future__ import annotations

import io

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.sampling import SampleState
from pystack_profiler.exporters import folded
from pystack_profiler.view import MODES, Granularity, View


def folded_lines(frames: list[list[Frame]], granularity: Granularity = "function") -> list[str]:
    writer = BatchWriter()
    thread = writer.thread(1)
    for tick, stack in enumerate(frames, 1):
        writer.sample(thread, tick * MS, MS, stack)
    stream = io.StringIO()
    folded.export(recording_of(writer), stream, View(granularity=granularity))
    return stream.getvalue().splitlines()


def test_microseconds_per_distinct_stack() -> None:
    main, work = Frame("main", "/srv/app.py"), Frame("work", "/srv/app.py", 4, 6)
    module = Frame("<module>", "/srv/app.py")
    stacks = [[module, main], [module, main, work], [], [module, main, work._replace(line=7)]]
    assert folded_lines(stacks) == [
        "<module> (app.py);main (app.py) 1000",
        "<module> (app.py);main (app.py);work (app.py) 2000",
        "<no Python code> 1000",
    ]
    assert folded_lines(stacks, "line")[1:3] == [
        "<module> (app.py:1);main (app.py:1);work (app.py:6) 1000",
        "<module> (app.py:1);main (app.py:1);work (app.py:7) 1000",
    ]


def test_files_of_one_name_are_told_apart() -> None:
    stack = [Frame("f", "/srv/shop/util.py"), Frame("f", "/srv/web/util.py"), Frame("g", "/x/y.py")]
    assert folded_lines([stack]) == ["f (shop/util.py);f (web/util.py);g (y.py) 1000"]
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [*stack, Frame("<module>", "/x/y.py")])
    assert folded_view(writer, view=View(full_filenames=True)) == (
        "f (/srv/shop/util.py);f (/srv/web/util.py);g (/x/y.py);<module> (/x/y.py) 1000\n"
    )


def test_separators_in_names_are_replaced() -> None:
    assert folded_lines([[Frame("a;b\nc", "x;y.py")]]) == ["a:b\\nc (x:y.py) 1000"]


def test_threads_add_up() -> None:
    writer = BatchWriter()
    for tid in (1, 2):
        writer.sample(writer.thread(tid), MS, MS, [Frame("f", "")])
    stream = io.StringIO()
    folded.export(recording_of(writer), stream)
    assert stream.getvalue() == "f 2000\n"


def folded_view(*writers: BatchWriter, view: View) -> str:
    stream = io.StringIO()
    folded.export(recording_of(*writers), stream, view)
    return stream.getvalue()


def test_modes_keep_what_was_in_that_state() -> None:
    writer = BatchWriter()
    thread = writer.thread(1)
    known = SampleState.CPU_KNOWN | SampleState.GIL_KNOWN
    for tick, (name, state) in enumerate(
        [
            ("waits", known),
            ("runs", known | SampleState.ON_CPU),
            ("holds", known | SampleState.ON_CPU | SampleState.HOLDS_GIL),
        ],
        1,
    ):
        writer.sample(thread, tick * MS, MS, [Frame(name, "")], state)
    recording = recording_of(writer)
    lines = {}
    for mode in MODES:
        stream = io.StringIO()
        folded.export(recording, stream, View(mode))
        lines[mode] = stream.getvalue().splitlines()
    assert lines == {
        "wall": ["waits 1000", "runs 1000", "holds 1000"],
        "cpu": ["runs 1000", "holds 1000"],
        "gil": ["holds 1000"],
        "runnable": [],
        "waits": ["waits 1000"],
    }


def one_frame(thread_name: str) -> BatchWriter:
    writer = BatchWriter()
    writer.sample(writer.thread(1, thread_name), MS, MS, [Frame("f", "")])
    return writer


def test_threads_as_root_frames() -> None:
    writer = one_frame("a;b")
    writer.sample(writer.thread(2, "", interpreter_id=3), MS, MS, [])
    assert folded_view(writer, view=View(threads=True)) == (
        "2 (interpreter 3);<no Python code> 1000\na:b 1;f 1000\n"
    )


def test_processes_are_root_frames_where_there_are_several() -> None:
    view = View(threads=True)
    assert folded_view(one_frame("a"), one_frame("a"), view=view) == (
        "app.py 100;a 1;f 1000\napp.py 200;a 1;f 1000\n"
    )


def test_garbage_collection_is_a_frame_on_top() -> None:
    writer = BatchWriter()
    thread = writer.thread(1)
    writer.sample(thread, MS, MS, [Frame("f", "")])
    writer.sample(thread, 3 * MS, 2 * MS, [Frame("f", "")], SampleState.GC)
    assert folded_view(writer, view=View()) == "f 1000\nf;<garbage collection> 2000\n"
