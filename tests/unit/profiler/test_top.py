"""What `pystack top` shows, without a screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler_fakes import MS, BatchWriter, Frame, Wait
from pystack.render.escape import display_width
from pystack.render.terminal import PLAIN
from pystack.sampling import FrameKind, SampleState
from pystack_profiler.aggregate import function_totals
from pystack_profiler.grouping import NOT_SAMPLED
from pystack_profiler.top.decay import DecayedSums
from pystack_profiler.top.function_times import FunctionTimes
from pystack_profiler.top.lines import cut, pad
from pystack_profiler.top.model import Frame as TopFrame
from pystack_profiler.top.model import ThreadRow
from pystack_profiler.top.ordering import SteadyOrder
from pystack_profiler.top.selection import Basis, Selection
from pystack_profiler.top.slices import Slice, SliceLog
from pystack_profiler.top.text_frames import text_frame
from pystack_profiler.view import MODES, Mode, View
from random_recordings import random_recording
from top_fakes import FakeRun, S

RUNS = SampleState.CPU_KNOWN | SampleState.ON_CPU | SampleState.GIL_KNOWN
HOLDS = RUNS | SampleState.HOLDS_GIL
WANTS = SampleState.CPU_KNOWN | SampleState.GIL_KNOWN | SampleState.WAITS_FOR_GIL
SLEEPS = SampleState.CPU_KNOWN | SampleState.GIL_KNOWN


def thread_rows(frame: TopFrame) -> dict[str, ThreadRow]:
    return {row.name: row for process in frame.processes for row in process.threads}


def functions(frame: TopFrame) -> dict[str, tuple[float, float]]:
    return {row.name: (round(row.own, 3), round(row.total, 3)) for row in frame.functions}


@pytest.mark.parametrize("mode", MODES)
def test_times_of_functions_are_those_of_a_recording(mode: Mode) -> None:
    for seed in range(8):
        recording = random_recording(seed, processes=2)
        log = SliceLog()
        grouping = log.grouping
        for profile in recording.profiles:
            grouping.grow(profile)
        windows = {profile: profile.window for profile in recording.profiles}
        times = FunctionTimes(log, Basis(mode, idle=True))
        times.add(Slice(windows, elapsed_ns=0, tool_cpu_ns=0))
        found = {
            grouping.frames[key]: (round(times.own.get(key)), round(total))
            for key, total in times.total.items()
        }
        wanted = {
            one.label: (one.self_ns, one.total_ns)
            for one in function_totals(recording, View(mode))
            if one.label != NOT_SAMPLED
        }
        assert {(one.function, one.file): time for one, time in found.items()} == {
            (one.function, one.file): time for one, time in wanted.items()
        }


def test_sums_decay_and_stay_exact_over_days() -> None:
    sums = DecayedSums[str](decay_s=10)
    sums.add("once", 100.0)
    for _ in range(10):
        sums.age(1)
    assert sums.get("once") == pytest.approx(100 / 2.718281828, rel=1e-6)
    for _ in range(100_000):
        sums.age(1)
        sums.add("always", 1.0)
    assert sums.get("always") == pytest.approx(1 / (1 - 2.718281828**-0.1), rel=1e-6)
    assert dict(sums.items()).keys() == {"always"}


def test_rows_keep_their_places_until_one_is_clearly_larger() -> None:
    order = SteadyOrder[str]()
    assert order.update({"a": 0.5, "b": 0.4, "c": 0.1}) == ["a", "b", "c"]
    assert order.update({"a": 0.45, "b": 0.47, "c": 0.1}) == ["a", "b", "c"]
    assert order.update({"a": 0.3, "b": 0.5, "c": 0.1}) == ["b", "a", "c"]
    assert order.update({"b": 0.5, "c": 0.1, "new": 0.4}) == ["b", "new", "c"]


def test_who_holds_the_gil_and_who_waits_by_name() -> None:
    run, writer = FakeRun(), BatchWriter()
    main, worker, sleeper = (writer.thread(100 + n, name) for n, name in enumerate("mws"))
    for tick in range(1, 101):
        at = tick * 10 * MS
        writer.sample(main, at, 10 * MS, [Frame("main")], HOLDS)
        writer.sample(worker, at, 10 * MS, [Frame("work")], WANTS)
        writer.sample(sleeper, at, 10 * MS, [Frame("get", line=7)], SLEEPS, wait=Wait("timer"))
    run.feed(writer, S, ticks=100, attempted=300, taken=299, torn=1, cpu_ns=S // 100)
    frame = run.look()
    assert frame.gil is not None
    assert (frame.gil.holders, frame.gil.waiters) == (("m 100",), ("w 101",))
    assert frame.gil.held == pytest.approx(1)
    assert frame.gil.waited == pytest.approx(1)
    rows = thread_rows(frame)
    assert [rows[name].state for name in "mws"] == ["running", "gil", "waiting"]
    assert rows["m"].cpu == pytest.approx(1)
    assert rows["s"].cpu == 0
    assert rows["s"].doing == "sleep, in get app.py:7"
    assert frame.quality.losses == "lost 1: 1 torn"
    assert frame.quality.coverage == pytest.approx(299 / 300)
    assert frame.quality.sampling_cpu == pytest.approx(0.01)
    # The busiest thread's stack.
    assert frame.stack is not None
    assert frame.stack.title == "last stack of m 100"


def test_what_was_not_measured_is_unknown() -> None:
    run, writer = FakeRun(), BatchWriter()
    writer.sample(writer.thread(100, "m"), S, S, [Frame("main")])
    run.feed(writer, S)
    frame = run.look(Selection(mode="cpu"))
    row = thread_rows(frame)["m"]
    assert (row.state, row.cpu, row.gil, row.gil_wait) == ("unknown", None, None, None)
    assert (frame.gil, frame.mode_is_known) == (None, False)
    text = "\n".join(text_frame(frame, PLAIN, None))
    assert "GIL      not known" in text
    assert "CPU time could not be measured" in text


def test_the_past_counts_less_and_a_thread_that_is_gone_is_said() -> None:
    run, writer = FakeRun(), BatchWriter()
    old, new = writer.thread(100, "old"), writer.thread(101, "new")
    for second in range(1, 11):
        writer.sample(old, second * S, S, [Frame("before")], HOLDS)
        run.feed(writer, S)
        run.look()
    for second in range(11, 16):
        writer.sample(new, second * S, S, [Frame("after")], HOLDS)
        run.feed(writer, S)
        frame = run.look()
    times = functions(frame)
    assert times["before"][1] + times["after"][1] == pytest.approx(1, abs=0.002)
    assert times["after"] > times["before"]
    assert thread_rows(frame)["old"].state == "unseen"
    assert thread_rows(frame)["old"].unseen_s == 5
    for second in range(16, 25):
        writer.sample(new, second * S, S, [Frame("after")], HOLDS)
        run.feed(writer, S)
        frame = run.look()
    assert thread_rows(frame).keys() == {"new"}


def test_another_selection_shows_the_past_as_if_it_had_been_chosen_before() -> None:
    run, writer = FakeRun(), BatchWriter()
    first, second = writer.thread(100, "first"), writer.thread(101, "second")
    for at in range(1, 6):
        writer.sample(first, at * S, S, [Frame("main"), Frame("compute")], HOLDS)
        writer.sample(second, at * S, S, [Frame("main"), Frame("read")], SLEEPS)
        run.feed(writer, S)
        frame = run.look(Selection(mode="cpu"))
    assert functions(frame) == {"compute": (1, 1), "main": (0, 1)}
    key = thread_rows(frame)["second"].key
    frame = run.look(Selection(mode="waits", of_thread=key))
    assert functions(frame) == {"read": (1, 1), "main": (0, 1)}
    assert frame.of_thread == "second 101"
    frame = run.look(Selection(mode="wall", filter="COMP"))
    assert functions(frame) == {"compute": (1, 1)}
    chosen = frame.functions[0].key
    stack = run.look(Selection(mode="wall", stack_of=chosen)).stack
    assert stack is not None
    assert [one.name for one in stack.frames] == ["compute", "main"]


def test_idle_threads_are_said_and_their_time_is_left_out() -> None:
    run, writer = FakeRun(), BatchWriter()
    pool, main = writer.thread(101, "pool"), writer.thread(100, "main")
    worker = Frame("_worker", "/usr/lib/python3.13/concurrent/futures/thread.py")
    writer.sample(pool, S, S, [worker], SLEEPS, wait=Wait("queue_item", "_queue.SimpleQueue"))
    writer.sample(main, S, S, [Frame("handler")], SLEEPS, wait=Wait("timer"))
    run.feed(writer, S)
    frame = run.look()
    assert {name: row.state for name, row in thread_rows(frame).items()} == {
        "main": "waiting",
        "pool": "idle",
    }
    assert functions(frame) == {"<waiting: sleep>": (1, 1), "handler": (0, 1)}
    assert "_worker" in functions(run.look(Selection(idle=True)))


def test_native_frames_can_be_hidden() -> None:
    run, writer = FakeRun(native=True), BatchWriter()
    thread = writer.thread(100, "m")
    native = Frame("dgemm", "/lib/blas.so", -1, -1, FrameKind.NATIVE, "/lib/blas.so")
    writer.sample(thread, S, S, [Frame("main"), native], HOLDS)
    run.feed(writer, S)
    shown = run.look(Selection(mode="cpu"))
    assert functions(shown) == {"dgemm": (1, 1), "main": (0, 1)}
    assert (shown.native, shown.native_cpu) == ("shown", 1)
    hidden = run.look(Selection(mode="cpu", native=False))
    assert functions(hidden) == {"main": (1, 1)}
    assert hidden.stack is not None
    assert [one.name for one in hidden.stack.frames] == ["main"]


def test_processes_have_lines_of_their_own() -> None:
    run = FakeRun()
    for pid in (100, 200):
        writer = BatchWriter()
        writer.sample(writer.thread(pid, "main", pid=pid), S, S, [Frame("work")], HOLDS)
        profile = run.feed(writer, S, pid=pid)
    profile.process.end_reason = "target_exited"
    frame = run.look()
    assert [process.pid for process in frame.processes] == [100, 200]
    # The same function of two processes is one.
    assert functions(frame) == {"work": (2, 2)}
    text = "\n".join(text_frame(frame, PLAIN, None))
    assert "200  app.py  CPython 3.13.5  100 % of a CPU  exited" in text


def test_source_lines_of_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pystack.render import source

    file = tmp_path / "app.py"
    file.write_text("one\n    two = 2\n")

    class Files:
        def open(self, path: bytes) -> int:
            import os

            return os.open(path, os.O_RDONLY)

    reader = source.SourceReader((source.Place(Files(), by_change_time=True),), 0.0)  # type: ignore[arg-type]
    monkeypatch.setattr(source.SourceReader, "of_process", lambda _: reader)
    run, writer = FakeRun(), BatchWriter()
    writer.sample(writer.thread(100), S, S, [Frame("f", str(file), 1, 2)], HOLDS)
    run.feed(writer, S)
    stack = run.look().stack
    assert stack is not None
    assert stack.frames[0].source == "two = 2"
    assert stack.notes == ("source changed since the process started: other lines may be running",)


def test_hostile_names_are_text_and_fit() -> None:
    run, writer = FakeRun(), BatchWriter()
    evil = "\x1b[31m\u202e<script>\n" + "宽" * 50_000
    writer.sample(
        writer.thread(100, evil),
        S,
        S,
        [Frame(evil, evil), Frame("<module>", evil)],
        SLEEPS,
        wait=Wait("lock", evil, evil, 0),
    )
    run.feed(writer, S, command=(evil, evil))
    run.recording.command = (evil,)
    for line in text_frame(run.look(), PLAIN, 100):
        assert line.isprintable()
        assert display_width(line) <= 100
    assert all(line.isprintable() for line in text_frame(run.look(), PLAIN, None))


@pytest.mark.parametrize("text", ["", "abc", "abcdefghij" * 30, "宽宽宽宽宽宽", "e\u0301" * 9])
def test_texts_are_cut_to_columns(text: str) -> None:
    for width in range(12):
        assert display_width(cut(text, width)) <= width
        assert display_width(pad(text, width)) == width
    assert cut(text, 10_000) == text


def test_a_deep_recursion_is_cut_and_counted_once() -> None:
    run, writer = FakeRun(), BatchWriter()
    writer.sample(writer.thread(100), S, S, [Frame("main"), *[Frame("down")] * 5000], HOLDS)
    run.feed(writer, S)
    frame = run.look()
    assert functions(frame) == {"down": (1, 1), "main": (0, 1)}
    assert frame.stack is not None
    assert len(frame.stack.frames) + frame.stack.more_frames == 5001
