from __future__ import annotations

from profiler_fakes import MS, BatchWriter, Frame, profile_of
from pystack_profiler.grouping import Granularity, group


def labels(frames: list[Frame], granularity: Granularity) -> list[tuple[str, int | None]]:
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, frames)
    return [(label.name, label.line) for label in group(profile_of(writer), granularity).frames]


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


def test_an_unknown_line_is_none() -> None:
    assert labels([Frame("f", first_line=-1, line=-1)], "function") == [("f", None)]
    assert labels([Frame("f", first_line=-1, line=-1)], "line") == [("f", None)]


def test_stacks_that_differ_in_lines_only_are_one_stack_by_function() -> None:
    writer = BatchWriter()
    thread = writer.thread(1)
    writer.sample(thread, MS, MS, [Frame("main", line=1), Frame("f", line=2)])
    writer.sample(thread, 2 * MS, MS, [Frame("main", line=8), Frame("f", line=9)])
    profile = profile_of(writer)
    by_function, by_line = group(profile, "function"), group(profile, "line")
    stacks = [run.stack for run in profile.tracks[0].runs()]
    assert len({by_function.stack_of[stack] for stack in stacks}) == 1
    assert len({by_line.stack_of[stack] for stack in stacks}) == 2
    path = by_line.path(by_line.stack_of[stacks[1]])
    assert [by_line.frames[frame].name for frame in path] == ["main:8", "f:9"]


def test_hostile_names_are_escaped() -> None:
    assert labels([Frame("a\x1b[2Jb\nc\udc80\u202e")], "function") == [
        ("a\\x1b[2Jb\\nc\\udc80\\u202e", 1)
    ]
