from __future__ import annotations

import pytest

from profiler_fakes import MS, BatchWriter, Frame, profile_of, recording_of
from pystack.sampling import SampleState
from pystack_profiler.aggregate import thread_totals
from pystack_profiler.profile import ProcessFacts, Profile, Recording
from pystack_profiler.track import Run
from pystack_profiler.window import Window

MAIN, WORK, REST = Frame("main"), Frame("work"), Frame("rest")


def test_equal_neighbours_become_one_run() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    for tick in range(1, 6):
        writer.sample(thread, tick * MS, MS, [MAIN, WORK])
    profile = profile_of(writer)
    assert list(profile.tracks[0].runs()) == [Run(0, 5 * MS, 2, 0, 5)]
    assert profile.sample_count == 5


def test_runs_continue_across_batches() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    profile = Profile(ProcessFacts(pid=100))
    for tick in range(1, 4):
        writer.sample(thread, tick * MS, MS, [MAIN])
        profile.append(writer.batch())
    writer.sample(thread, 4 * MS, MS, [MAIN, WORK])
    profile.append(writer.batch())
    assert list(profile.tracks[0].runs()) == [Run(0, 3 * MS, 1, 0, 3), Run(3 * MS, MS, 2, 0, 1)]


def test_a_change_of_state_begins_a_run() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    writer.sample(thread, MS, MS, [MAIN], state=1)
    writer.sample(thread, 2 * MS, MS, [MAIN], state=2)
    assert [run.state for run in profile_of(writer).tracks[0].runs()] == [1, 2]


def test_time_that_no_weight_covers_is_a_gap_without_samples() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    writer.sample(thread, MS, MS, [MAIN])
    writer.sample(thread, 10 * MS, MS, [MAIN])
    assert list(profile_of(writer).tracks[0].runs()) == [
        Run(0, MS, 1, 0, 1),
        Run(MS, 8 * MS, 0, 0, 0),
        Run(9 * MS, MS, 1, 0, 1),
    ]


ON_CPU = SampleState.CPU_KNOWN | SampleState.ON_CPU


def test_the_kernels_times_are_summed_up_in_runs() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    profile = Profile(ProcessFacts(pid=100))
    for tick in (1, 2, 3):
        writer.sample(thread, tick * MS, MS, [MAIN], ON_CPU, cpu_ns=tick, runnable_ns=10 * tick)
        profile.append(writer.batch())
    assert list(profile.tracks[0].runs()) == [Run(0, 3 * MS, 1, ON_CPU, 3, 6, 60)]


def test_time_that_ran_between_samples_is_that_of_the_last_that_ran() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    profile = Profile(ProcessFacts(pid=100))
    late = iter((1, 10, 100))
    for tick, (frames, state) in enumerate(
        (([REST], 0), ([WORK], ON_CPU), ([WORK], ON_CPU), ([REST], 0)), 1
    ):
        writer.sample(thread, tick * MS, MS, frames, state, cpu_ns=0)
        if tick != 2:
            writer.late_cpu(thread, next(late))
        profile.append(writer.batch())
    cpu_ns = [run.cpu_ns for run in profile.tracks[0].runs()]
    assert cpu_ns == [0, 111, 0]
    assert thread_totals(Recording(pid=100, profiles=[profile]))[0].on_cpu_ns == 111


def test_time_of_a_thread_that_no_sample_found_running_is_still_told() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    writer.sample(thread, MS, MS, [REST], SampleState.CPU_KNOWN)
    writer.late_cpu(thread, 7, 3)
    (total,) = thread_totals(recording_of(writer))
    assert (total.on_cpu_ns, total.runnable_ns) == (7, 3)


def test_a_thread_without_python_is_not_a_gap() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    writer.sample(thread, MS, MS, [])
    writer.sample(thread, 2 * MS, MS, [])
    assert list(profile_of(writer).tracks[0].runs()) == [Run(0, 2 * MS, 0, 0, 2)]


def test_duration_begins_with_the_recording_or_the_first_weight() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(100), 50 * MS, 20 * MS, [MAIN])
    assert recording_of(writer, start_ns=10 * MS, end_ns=70 * MS).duration_ns == 60 * MS
    writer = BatchWriter()
    writer.sample(writer.thread(100), 50 * MS, 20 * MS, [MAIN])
    assert recording_of(writer, start_ns=40 * MS, end_ns=45 * MS).duration_ns == 20 * MS


def test_an_empty_profile_has_no_samples() -> None:
    recording = recording_of(BatchWriter(), start_ns=MS, end_ns=3 * MS)
    assert (recording.sample_count, recording.duration_ns) == (0, 2 * MS)
    assert Recording(pid=1).duration_ns == 0


@pytest.mark.parametrize("max_runs", [64, 1000])
def test_memory_stops_growing_with_time_and_sums_stay_exact(max_runs: int) -> None:
    writer = BatchWriter()
    profile = Profile(ProcessFacts(pid=100), window=Window(max_runs=max_runs))
    threads = [writer.thread(tid) for tid in (100, 101)]
    stacks = [[MAIN, Frame(f"work{number}")] for number in range(7)]
    expected: dict[tuple[int, int], int] = {}
    time_ns = 0
    for tick in range(20_000):
        time_ns += MS + tick % 3
        weight_ns = MS + tick % 3
        for thread in threads:
            stack = (tick * (thread + 1)) % 7
            writer.sample(thread, time_ns, weight_ns, stacks[stack])
            key = (thread, stack)
            expected[key] = expected.get(key, 0) + weight_ns
        if tick % 50 == 49:
            profile.append(writer.batch())
            runs = sum(track.run_count for track in profile.tracks)
            assert runs <= max_runs
    assert profile.time_resolution_ns > 0
    assert profile.sample_count == 40_000
    names = {row: profile.tables.strings[profile.tables.frame_function[frame]] for row, frame in
             enumerate(profile.tables.stack_frame) if row}  # fmt: skip
    found: dict[tuple[int, int], int] = {}
    for thread, track in enumerate(profile.tracks):
        end_ns = track.start_ns
        for run in track.runs():
            assert run.start_ns == end_ns
            end_ns += run.weight_ns
            key = (thread, int(names[run.stack].removeprefix("work")))
            found[key] = found.get(key, 0) + run.weight_ns
        assert end_ns == track.end_ns
    assert found == expected


def test_distinct_stacks_are_kept_beyond_the_limit() -> None:
    writer = BatchWriter()
    profile = Profile(ProcessFacts(pid=100), window=Window(max_runs=10))
    thread = writer.thread(100)
    for tick in range(1, 201):
        writer.sample(thread, tick * MS, MS, [Frame(f"f{tick}")])
        profile.append(writer.batch())
    assert profile.tracks[0].run_count == 200


def test_a_thread_gets_its_name_later() -> None:
    writer, profile = BatchWriter(), Profile(ProcessFacts(pid=100))
    thread = writer.thread(7, "python3")
    writer.sample(thread, MS, MS, [MAIN])
    profile.append(writer.batch())
    writer.rename(thread, 7, "MainThread")
    profile.append(writer.batch())
    assert [track.identity.name for track in profile.tracks] == ["MainThread"]
    assert profile.sample_count == 1
