from __future__ import annotations

import io

from profiler_fakes import MS, BatchWriter, Frame, profile_of
from pystack_profiler.exporters import folded
from pystack_profiler.grouping import Granularity


def folded_lines(frames: list[list[Frame]], granularity: Granularity = "function") -> list[str]:
    writer = BatchWriter()
    thread = writer.thread(1)
    for tick, stack in enumerate(frames, 1):
        writer.sample(thread, tick * MS, MS, stack)
    stream = io.StringIO()
    folded.export(profile_of(writer), stream, granularity=granularity)
    return stream.getvalue().splitlines()


def test_microseconds_per_distinct_stack() -> None:
    main, work = Frame("main", "/srv/app.py"), Frame("work", "/srv/app.py", 4, 6)
    module = Frame("<module>", "/srv/app.py")
    stacks = [[module, main], [module, main, work], [], [module, main, work._replace(line=7)]]
    assert folded_lines(stacks) == [
        "<module> (app.py);main (app.py) 1000",
        "<module> (app.py);main (app.py);work (app.py) 2000",
    ]
    assert folded_lines(stacks, "line")[1:] == [
        "<module> (app.py:1);main (app.py:1);work (app.py:6) 1000",
        "<module> (app.py:1);main (app.py:1);work (app.py:7) 1000",
    ]


def test_separators_in_names_are_replaced() -> None:
    assert folded_lines([[Frame("a;b\nc", "x;y.py")]]) == ["a:b\\nc (x:y.py) 1000"]


def test_threads_add_up() -> None:
    writer = BatchWriter()
    for tid in (1, 2):
        writer.sample(writer.thread(tid), MS, MS, [Frame("f", "")])
    stream = io.StringIO()
    folded.export(profile_of(writer), stream)
    assert stream.getvalue() == "f 2000\n"
