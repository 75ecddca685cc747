from __future__ import annotations

import pytest

from profiler_fakes import MS, BatchWriter, Frame, profile_of
from pystack.sampling import SampleState
from pystack_profiler.grouping import Grouping
from pystack_profiler.view import Granularity


def labels(frames: list[Frame], granularity: Granularity) -> list[tuple[str, int | None]]:
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, frames)
    return [
        (label.name, label.line) for label in Grouping([profile_of(writer)], granularity).frames
    ]


def test_by_function_lines_are_one_frame_at_the_functions_first_line() -> None:
    frames = [Frame("f", first_line=3, line=4), Frame("f", first_line=3, line=9)]
    assert labels(frames, "function") == [("f", 3)]
    assert labels(frames, "line") == [("f:4", 4), ("f:9", 9)]


def test_functions_of_one_name_are_kept_apart_by_file_and_first_line() -> None:
    frames = [Frame("f", "a.py", 1), Frame("f", "b.py", 1), Frame("f", "a.py", 7)]
    assert len(labels(frames, "function")) == 3


def test_names_that_every_file_has_tell_the_file() -> None:
    frames = [Frame("<module>", "/srv/app.py", 1, 12), Frame("f.<locals>.<lambda>", "/srv/app.py")]
    assert labels(frames, "function") == [("<module> (app.py)", 1), ("f.<locals>.<lambda>", 1)]
    assert labels(frames, "line")[0] == ("<module> (app.py:12)", 12)


def test_names_show_what_tells_files_apart() -> None:
    modules = [
        "/lib/pandas/__init__.py",
        "/lib/numpy/__init__.py",
        "/srv/a/app.py",
        "/srv/b/app.py",
    ]
    frames = [Frame("<module>", file) for file in [*modules, "/srv/other.py", "<frozen runpy>"]]
    assert [name for name, _ in labels(frames, "function")] == [
        "<module> (pandas/__init__.py)",
        "<module> (numpy/__init__.py)",
        "<module> (a/app.py)",
        "<module> (b/app.py)",
        "<module> (other.py)",
        "<module> (<frozen runpy>)",
    ]


def test_an_unknown_line_is_none() -> None:
    assert labels([Frame("f", first_line=-1, line=-1)], "function") == [("f", None)]
    assert labels([Frame("f", first_line=-1, line=-1)], "line") == [("f", None)]


def test_stacks_that_differ_in_lines_only_are_one_stack_by_function() -> None:
    writer = BatchWriter()
    thread = writer.thread(1)
    writer.sample(thread, MS, MS, [Frame("main", line=1), Frame("f", line=2)])
    writer.sample(thread, 2 * MS, MS, [Frame("main", line=8), Frame("f", line=9)])
    profile = profile_of(writer)
    by_function, by_line = Grouping([profile], "function"), Grouping([profile], "line")
    stacks = [run.stack for run in profile.tracks[0].runs()]
    assert len({by_function.stack_of(profile, stack, 0) for stack in stacks}) == 1
    assert len({by_line.stack_of(profile, stack, 0) for stack in stacks}) == 2
    path = by_line.path(by_line.stack_of(profile, stacks[1], 0))
    assert [by_line.frames[frame].name for frame in path] == ["main:8", "f:9"]


def test_hostile_names_are_escaped() -> None:
    assert labels([Frame("a\x1b[2Jb\nc\udc80\u202e")], "function") == [
        ("a\\x1b[2Jb\\nc\\udc80\\u202e", 1)
    ]


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (Frame("f", "/srv/app.py"), "python"),
        (Frame("f", "app.py"), "python"),
        (Frame("f", "/usr/lib/python3.11/json/decoder.py"), "library"),
        (Frame("f", "/srv/venv/lib/python3.13/site-packages/click/core.py"), "library"),
        (Frame("f", "/usr/lib/python3/dist-packages/yaml/__init__.py"), "library"),
        (Frame("f", "/opt/lib/python3.13t/queue.py"), "library"),
        (Frame("_find_and_load", "<frozen importlib._bootstrap>"), "interpreter"),
        (Frame("list_sort", "/usr/lib/libpython3.11.so.1.0", kind=1), "interpreter"),
        (Frame("list_sort", "/usr/bin/python3.15", kind=1), "interpreter"),
        (Frame("dgemm", "/usr/lib/libopenblas.so.0", kind=1), "native"),
        (Frame("<task>", "", kind=2), "marker"),
    ],
)
def test_whose_code_a_frame_is(frame: Frame, kind: str) -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [frame])
    assert [label.kind for label in Grouping([profile_of(writer)], "function").frames] == [kind]


def test_stacks_of_several_processes_are_brought_together() -> None:
    writers = [BatchWriter(), BatchWriter()]
    for writer, names in zip(writers, (["f", "g"], ["h", "f", "g"]), strict=True):
        thread = writer.thread(1)
        for number in range(len(names)):
            writer.sample(thread, (number + 1) * MS, MS, [Frame(name) for name in names[number:]])
    profiles = [profile_of(writer) for writer in writers]
    grouping = Grouping(profiles, "function")
    stacks = [
        {grouping.stack_of(profile, run.stack, 0) for run in profile.tracks[0].runs()}
        for profile in profiles
    ]
    assert len(grouping.frames) == 3
    assert stacks[0] < stacks[1]


def test_the_collectors_frame_is_there_only_if_it_was_seen() -> None:
    writer = BatchWriter()
    thread = writer.thread(1)
    writer.sample(thread, MS, MS, [Frame("f")])
    quiet = Grouping([profile := profile_of(writer)], "function")
    assert quiet.stack_of(profile, 1, SampleState.GC) == quiet.stack_of(profile, 1, 0)
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [Frame("f")], SampleState.GC)
    collecting = Grouping([profile := profile_of(writer)], "function")
    stack = collecting.stack_of(profile, 1, SampleState.GC)
    names = [collecting.frames[frame].name for frame in collecting.path(stack)]
    assert names == ["f", "<garbage collection>"]
    assert stack == collecting.stack_of(profile, 1, SampleState.GC)
