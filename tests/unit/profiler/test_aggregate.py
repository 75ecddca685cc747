from __future__ import annotations

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.sampling import SampleState
from pystack_profiler.aggregate import busiest_track, function_totals, thread_totals

MAIN, WALK, WORK = Frame("main"), Frame("walk"), Frame("work")


def test_self_and_total_time_with_recursion_counted_once() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    writer.sample(thread, 1 * MS, 1 * MS, [MAIN])
    writer.sample(thread, 3 * MS, 2 * MS, [MAIN, WALK, WALK, WORK])
    writer.sample(thread, 7 * MS, 4 * MS, [MAIN, WALK, WORK, WALK])
    totals = function_totals(recording_of(writer))
    assert {total.label.name: (total.self_ns // MS, total.total_ns // MS) for total in totals} == {
        "main": (1, 7),
        "walk": (4, 6),
        "work": (2, 6),
    }
    assert totals[0].label.name == "main"


def test_function_totals_of_some_threads() -> None:
    writer = BatchWriter()
    first, second = writer.thread(100), writer.thread(101)
    writer.sample(first, MS, MS, [MAIN])
    writer.sample(second, MS, MS, [WORK])
    recording = recording_of(writer)
    only_second = function_totals(recording, tracks=list(recording.tracks())[1:])
    assert [total.label.name for total in only_second] == ["work"]


def test_thread_totals_say_none_for_what_was_never_measured() -> None:
    writer = BatchWriter()
    thread = writer.thread(100, "MainThread")
    known = SampleState.GIL_KNOWN
    writer.sample(thread, MS, MS, [MAIN], state=known | SampleState.HOLDS_GIL)
    writer.sample(thread, 3 * MS, 2 * MS, [MAIN], state=known | SampleState.WAITS_FOR_GIL)
    writer.sample(thread, 9 * MS, 2 * MS, [MAIN], state=known)
    (total,) = thread_totals(recording_of(writer))
    assert (total.samples, total.seen_ns, total.gap_ns) == (3, 5 * MS, 4 * MS)
    assert (total.gil_held_ns, total.gil_wait_ns, total.on_cpu_ns) == (MS, 2 * MS, None)


def test_the_busiest_thread_is_the_one_on_the_cpu_else_the_liveliest() -> None:
    on_cpu = SampleState.CPU_KNOWN | SampleState.ON_CPU
    for states, busiest in (([SampleState.CPU_KNOWN, on_cpu], 1), ([0, 0], 0)):
        writer = BatchWriter()
        threads = [writer.thread(100), writer.thread(101)]
        for tick in range(1, 5):
            writer.sample(threads[0], tick * MS, MS, [MAIN] * (1 + tick % 2), state=states[0])
            writer.sample(threads[1], tick * MS, MS, [MAIN], state=states[1])
        assert busiest_track(recording_of(writer)) == busiest
    assert busiest_track(recording_of(BatchWriter())) is None


def test_a_stack_of_many_thousand_frames() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(100), MS, MS, [Frame("deep")] * 50_000)
    (total,) = function_totals(recording_of(writer))
    assert (total.self_ns, total.total_ns) == (MS, MS)
