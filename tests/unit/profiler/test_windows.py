"""Windows on the same tables: nothing is lost between them, and nothing is in two of them."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from profiler_fakes import MS, BatchWriter, Frame, profile_of, stats
from pystack.sampling import STATS_MERGES, SampleState
from pystack_profiler import function_totals, thread_totals
from pystack_profiler.counts import add_stats, no_stats
from pystack_profiler.profile import ProcessFacts, Profile, Recording

HOLDS = SampleState.GIL_KNOWN | SampleState.HOLDS_GIL
WAITS = SampleState.GIL_KNOWN | SampleState.WAITS_FOR_GIL


def write_batches(
    seed: int, profiles: list[Profile], cuts: dict[int, Recording]
) -> list[Recording]:
    """Appends the same batches to profiles of equal writers, and cuts at the batches in `cuts`."""
    chance = random.Random(seed)
    writer = BatchWriter()
    threads: list[int] = []
    closed: list[Recording] = []
    time_ns = 1000 * MS
    for number in range(60):
        if number % 15 == 0:
            threads.append(writer.thread(100 + number, f"t{number}"))
        for _ in range(10):
            time_ns += MS
            holder = chance.choice(threads)
            for thread in threads:
                frames = [
                    Frame(f"f{chance.randrange(4)}"),
                    Frame(f"g{chance.randrange(number + 1)}"),
                ]
                writer.sample(thread, time_ns, MS, frames, HOLDS if thread == holder else WAITS)
        batch = writer.batch()
        longest_ns = chance.randrange(1000)
        batch.stats = stats(
            attempted=10 * len(threads),
            taken=10 * len(threads),
            stop_ns_max=longest_ns,
            stops=[1, 2],
        )
        for profile in profiles:
            profile.append(batch)
        if number in cuts:
            closed.append(cuts[number].cut())
    return closed


def recording_with(profile: Profile) -> Recording:
    return Recording(pid=100, began_ns=1000 * MS, start_time_ns=7 * MS, profiles=[profile])


def function_times(*recordings: Recording) -> Counter[tuple[str, int]]:
    times: Counter[tuple[str, int]] = Counter()
    for recording in recordings:
        for total in function_totals(recording):
            times[total.label.name, 0] += total.self_ns
            times[total.label.name, 1] += total.total_ns
    return times


def times_of_threads(*recordings: Recording) -> Counter[tuple[int, str]]:
    times: Counter[tuple[int, str]] = Counter()
    for recording in recordings:
        for total in thread_totals(recording):
            for name in ("samples", "seen_ns", "gap_ns", "gil_held_ns", "gil_wait_ns"):
                times[total.identity.tid, name] += getattr(total, name) or 0
    return times


@pytest.mark.parametrize("cut_at", [(5,), (0, 1, 30), (10, 20, 30, 40, 59), tuple(range(60))])
def test_the_sum_of_the_windows_is_the_whole(cut_at: tuple[int, ...]) -> None:
    whole = recording_with(Profile(ProcessFacts(pid=100, start_ns=1000 * MS)))
    parts = recording_with(Profile(ProcessFacts(pid=100, start_ns=1000 * MS)))
    windows = write_batches(3, [whole.profiles[0], parts.profiles[0]], dict.fromkeys(cut_at, parts))
    windows.append(parts)
    assert len(windows) == len(cut_at) + 1
    assert all(window.sample_count for window in windows[:-1])
    assert all(window.profiles[0].tables is parts.profiles[0].tables for window in windows)
    assert sum(window.sample_count for window in windows) == whole.sample_count
    assert function_times(*windows) == function_times(whole)
    assert times_of_threads(*windows) == times_of_threads(whole)
    total = no_stats()
    for window in windows:
        assert window.stats["taken"] == window.sample_count
        add_stats(total, window.stats)
    assert total == whole.stats
    waited_ns = sum(window.profiles[0].contention.waited_ns for window in windows)
    assert waited_ns == whole.profiles[0].contention.waited_ns
    # They follow each other without a gap, in both clocks.
    for window, following in itertools.pairwise(windows):
        assert window.end_ns == following.start_ns
        assert following.start_time_ns - window.start_time_ns == window.duration_ns
    assert sum(window.duration_ns for window in windows) == whole.duration_ns


def test_the_longest_stop_is_that_of_the_window() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    profile = Profile(ProcessFacts(pid=100))
    closed = []
    for number, longest_ns in enumerate((70, 900, 40)):
        writer.sample(thread, (number + 1) * MS, MS, [Frame("f")])
        batch = writer.batch()
        batch.stats = stats(stop_ns_max=longest_ns, stop_ns_total=longest_ns, stops=[0, number])
        profile.append(batch)
        closed.append(profile.cut())
    assert [one.stats["stop_ns_max"] for one in closed] == [70, 900, 40]
    recording = Recording(pid=100, profiles=closed)
    assert recording.stats["stop_ns_max"] == 900
    assert recording.stats["stop_ns_total"] == 1010
    assert recording.stats["stops"] == [0, 3]


def test_a_window_has_the_threads_that_were_sampled_in_it() -> None:
    writer = BatchWriter()
    old, young = writer.thread(100, "old"), writer.thread(101, "young")
    profile = Profile(ProcessFacts(pid=100))
    writer.sample(old, MS, MS, [Frame("f")])
    writer.sample(young, MS, MS, [Frame("f")])
    profile.append(writer.batch())
    first = profile.cut()
    writer.rename(young, 101, "renamed")
    writer.sample(young, 2 * MS, MS, [Frame("g")])
    profile.append(writer.batch())
    assert [track.identity.name for track in first.tracks] == ["old", "young"]
    assert [track.identity.name for track in profile.tracks] == ["renamed"]
    assert profile.was_seen


def test_threads_of_another_process_are_in_no_window() -> None:
    writer = BatchWriter()
    foreign, own = writer.thread(0, "of the parent"), writer.thread(100, "own")
    profile = Profile(ProcessFacts(pid=100), only_own_threads=True)
    for thread in (foreign, own):
        writer.sample(thread, MS, MS, [Frame("f")], HOLDS if thread == foreign else WAITS)
    batch = writer.batch()
    batch.stats = stats(attempted=2, taken=2)
    profile.append(batch)
    for looked_at in (profile.snapshot(), profile.snapshot().snapshot(), profile.cut()):
        assert [track.identity.name for track in looked_at.tracks] == ["own"]
        assert looked_at.stats["attempted"] == looked_at.stats["taken"] == 1
        assert not looked_at.contention.blamed_ns


def test_a_snapshot_does_not_change() -> None:
    writer = BatchWriter()
    threads = [writer.thread(tid) for tid in (100, 101)]
    profile = Profile(ProcessFacts(pid=100))

    def grow(time_ns: int, name: str) -> None:
        writer.sample(threads[0], time_ns, MS, [Frame(name)], HOLDS)
        writer.sample(threads[1], time_ns, MS, [Frame(name)], WAITS)
        batch = writer.batch()
        batch.stats = stats(taken=2)
        profile.append(batch)

    recording = Recording(pid=100, profiles=[profile])
    grow(MS, "f")
    snapshot = recording.snapshot()
    before = function_times(snapshot)
    assert before == function_times(recording)
    grow(2 * MS, "f")  # It extends the open runs.
    grow(3 * MS, "g")
    assert function_times(snapshot) == before
    assert snapshot.sample_count == snapshot.stats["taken"] == 2
    assert len(snapshot.profiles[0].tables.frame_kind) == 1
    assert sum(snapshot.profiles[0].contention.blamed_ns.values()) == MS
    assert {track for track, _ in snapshot.profiles[0].contention.blamed_ns} <= set(
        snapshot.profiles[0].tracks
    )
    assert recording.sample_count == 6


def test_to_look_at_a_recording_does_not_change_it() -> None:
    looked_at, left_alone = (Profile(ProcessFacts(pid=100)) for _ in range(2))
    writer = BatchWriter()
    threads = [writer.thread(tid) for tid in (100, 101)]
    for tick in range(1, 50):
        # The waiting thread is sampled later than the holder, so looks fall between them.
        writer.sample(threads[0], tick * MS, MS, [Frame("f")], HOLDS)
        writer.sample(threads[1], tick * MS + MS // 2, MS, [Frame("f")], WAITS)
        batch = writer.batch()
        for profile in (looked_at, left_alone):
            profile.append(batch)
        assert looked_at.contention.waited_ns == tick * MS
    times = [list(one.contention.blamed_ns.values()) for one in (looked_at, left_alone)]
    assert times[0] == times[1]
    assert looked_at.contention.unexplained_ns == left_alone.contention.unexplained_ns


def test_a_snapshot_of_a_finished_profile_is_equal() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(100), MS, MS, [Frame("f")])
    profile = profile_of(writer, taken=1)
    copied = profile.snapshot()
    assert copied.process == profile.process
    assert copied.stats == profile.stats
    assert [list(track.runs()) for track in copied.tracks] == [
        list(track.runs()) for track in profile.tracks
    ]


def test_counts_of_two_stretches_of_time() -> None:
    assert set(no_stats()) == set(STATS_MERGES)
    total = stats(taken=3, stop_ns_max=7, stops=[1])
    add_stats(total, stats(taken=4, stop_ns_max=5, stops=[1, 2]))
    assert total == stats(taken=7, stop_ns_max=7, stops=[2, 2])
