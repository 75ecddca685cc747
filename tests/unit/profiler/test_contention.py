from __future__ import annotations

import random

from profiler_fakes import MS, BatchWriter, Frame, profile_of
from pystack.sampling import FrameKind, SampleState
from pystack_profiler.profile import ProcessFacts, Profile
from pystack_profiler.window import Window

HOLDS = SampleState.GIL_KNOWN | SampleState.HOLDS_GIL
WAITS = SampleState.GIL_KNOWN | SampleState.WAITS_FOR_GIL
WITHOUT = SampleState.GIL_KNOWN

WORK, REST = Frame("work"), Frame("rest")


def blamed(profile: Profile) -> dict[tuple[str, str], int]:
    """(thread, innermost function) -> milliseconds."""
    tables = profile.tables
    return {
        (
            track.identity.name,
            tables.strings[tables.frame_function[tables.stack_frame[stack]]],
        ): time_ns // MS
        for (track, stack), time_ns in profile.contention.blamed_ns.items()
    }


def test_the_holders_stack_is_blamed_for_as_long_as_others_wait() -> None:
    writer = BatchWriter()
    greedy, poor = writer.thread(1, "greedy"), writer.thread(2, "poor")
    writer.sample(greedy, 10 * MS, 10 * MS, [WORK], HOLDS)
    writer.sample(poor, 10 * MS, 10 * MS, [REST], WAITS)
    writer.sample(greedy, 20 * MS, 10 * MS, [REST], HOLDS)
    writer.sample(poor, 20 * MS, 10 * MS, [REST], WITHOUT)
    profile = profile_of(writer)
    assert blamed(profile) == {("greedy", "work"): 10}
    assert profile.contention.unexplained_ns == 0


def test_each_waiting_thread_counts() -> None:
    writer = BatchWriter()
    threads = [writer.thread(tid, str(tid)) for tid in range(4)]
    for thread in threads:
        writer.sample(thread, 10 * MS, 10 * MS, [WORK], WAITS if thread else HOLDS)
    profile = profile_of(writer)
    assert blamed(profile) == {("0", "work"): 30}
    assert profile.contention.waited_ns == 30 * MS


def test_samples_need_not_be_at_the_same_times() -> None:
    writer = BatchWriter()
    holder, waiter = writer.thread(1, "a"), writer.thread(2, "b")
    writer.sample(holder, 7 * MS, 7 * MS, [WORK], HOLDS)
    writer.sample(holder, 9 * MS, 2 * MS, [REST], WITHOUT)
    writer.sample(holder, 20 * MS, 11 * MS, [REST], HOLDS)
    writer.sample(waiter, 15 * MS, 10 * MS, [REST], WAITS)
    profile = profile_of(writer)
    assert blamed(profile) == {("a", "work"): 2, ("a", "rest"): 6}
    assert profile.contention.unexplained_ns == 2 * MS


def test_a_thread_that_calls_another_interpreter_holds_the_gil_of_that() -> None:
    writer = BatchWriter()
    caller, waiter = writer.thread(1, "a"), writer.thread(2, "b")
    inner = [WORK, Frame("<interpreter 1>", "", kind=FrameKind.MARKER), REST]
    writer.sample(caller, 10 * MS, 10 * MS, inner, HOLDS)
    writer.sample(waiter, 10 * MS, 10 * MS, [REST], WAITS)
    writer.sample(caller, 20 * MS, 10 * MS, [WORK], HOLDS)
    writer.sample(waiter, 20 * MS, 10 * MS, [REST], WAITS)
    writer.sample(caller, 30 * MS, 10 * MS, inner, HOLDS)
    writer.sample(waiter, 30 * MS, 10 * MS, inner, WAITS)
    profile = profile_of(writer)
    assert blamed(profile) == {("a", "work"): 10, ("a", "rest"): 10}
    assert profile.contention.unexplained_ns == 10 * MS


def test_interpreters_have_each_their_own() -> None:
    writer = BatchWriter()
    holder = writer.thread(1, "a")
    waiter = writer.thread(2, "b", interpreter_id=1)
    writer.sample(holder, 10 * MS, 10 * MS, [WORK], HOLDS)
    writer.sample(waiter, 10 * MS, 10 * MS, [WORK], WAITS)
    profile = profile_of(writer)
    assert blamed(profile) == {}
    assert profile.contention.unexplained_ns == 10 * MS


def test_all_waiting_is_accounted_for_also_when_the_order_of_samples_is_given_up() -> None:
    chance = random.Random(1)
    steps = []
    for tick in range(1, 4001):
        holder = chance.choice([0, 1, 2, None])
        steps.append((tick * MS, holder, [chance.choice([WORK, REST]) for _ in range(3)]))
    results = []
    for max_runs in (100, 1_000_000):
        writer = BatchWriter()
        profile = Profile(ProcessFacts(pid=1), window=Window(max_runs=max_runs))
        threads = [writer.thread(tid, str(tid)) for tid in range(3)]
        waited_ns = 0
        for number, (time_ns, holder, frames) in enumerate(steps):
            for thread in threads:
                state = HOLDS if thread == holder else WAITS if number % 3 else WITHOUT
                waited_ns += MS if state == WAITS else 0
                writer.sample(thread, time_ns, MS, [frames[thread]], state)
            profile.append(writer.batch())
        profile.finish()
        assert profile.contention.waited_ns == waited_ns
        results.append(blamed(profile))
    assert results[0] == results[1]
    assert len(results[0]) == 6
