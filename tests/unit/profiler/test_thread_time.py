"""The runs in a flame graph page: they add up to its sums, and are where they were recorded."""

from __future__ import annotations

import io
import json
import random
import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.sampling import SampleState
from pystack_profiler.exporters import html, thread_time
from pystack_profiler.exporters.thread_time import ThreadTime, bound
from pystack_profiler.grouping import Grouping
from pystack_profiler.profile import Recording
from pystack_profiler.view import MODES, Mode, time_in_mode
from random_recordings import random_recording

_DATA = re.compile(r'<script type="application/json" id="recording">(.*?)</script>', re.DOTALL)


def data_of(recording: Recording) -> dict[str, Any]:
    stream = io.StringIO()
    html.export(recording, stream)
    found: dict[str, Any] = json.loads(_DATA.findall(stream.getvalue())[0])
    return found


def unpacked(text: str) -> Iterator[tuple[int, int, int, int, int]]:
    """Flags, stack, and microseconds: all, on a CPU, and without one."""
    data = iter(b64decode(text))

    def number() -> int:
        value = shift = 0
        while True:
            byte = next(data)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    stack = 0
    for flags in data:
        step = number()
        stack += -(step + 1) // 2 if step % 2 else step // 2
        wall_us = number()
        used = (number(), number()) if flags & thread_time.USED_CPU else (0, 0)
        yield flags & ~thread_time.USED_CPU, stack, wall_us, *used


def sums(thread: dict[str, Any], mode: str) -> dict[int, int]:
    found: dict[int, int] = {}
    for flags, stack, wall_us, cpu_us, runnable_us in unpacked(thread["runs"]):
        counts = {"gil": flags & thread_time.HELD_GIL, "waits": flags & thread_time.WAITED}
        time_us = {"cpu": cpu_us, "runnable": runnable_us}.get(mode, wall_us)
        if counts.get(mode, True) and time_us:
            found[stack] = found.get(stack, 0) + time_us
    return found


@pytest.mark.parametrize("most_runs", [10**6, 5])
@pytest.mark.parametrize("seed", range(4))
def test_runs_add_up_to_the_times_of_the_page(
    seed: int, most_runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_time, "_MOST_RUNS", most_runs)
    data = data_of(random_recording(seed, processes=1 + seed % 2))
    assert (data["timeline"]["slice"] > 0) is (most_runs == 5)
    for thread in data["threads"]:
        stacks, stack = [], 0
        for step in thread["stack"]:
            stack += step
            stacks.append(stack)
        for mode in set(data["modes"]) - {"blame"}:
            known = dict(zip(stacks, thread[mode], strict=True))
            assert sums(thread, mode) == {stack: time for stack, time in known.items() if time}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", MODES)
def test_no_time_is_lost_or_made_by_rounding(seed: int, mode: Mode) -> None:
    recording = random_recording(seed)
    grouping = Grouping(recording.profiles, "line")
    for profile, track in recording.tracks():
        time = ThreadTime(profile, track, grouping, recording.start_ns)
        known: dict[tuple[int, int], int] = {}
        for run in track.runs():
            key = grouping.stack_of_run(profile, run), run.state if run.samples else -1
            known[key] = known.get(key, 0) + time_in_mode(mode, run)
        # Stacks in one state are rounded; a stack can have several states.
        for stack, time_us in time.in_mode(mode).items():
            exact_ns = [time_ns for (of, _), time_ns in known.items() if of == stack]
            assert abs(time_us * 1000 - sum(exact_ns)) <= 500 * len(exact_ns)


def places(time: ThreadTime) -> Iterator[tuple[int, int, int]]:
    """Begin, end and stack."""
    begin_us = time.start_us
    for _, stack, wall_us, _, _ in unpacked(time.packed()):
        yield begin_us, begin_us + wall_us, stack
        begin_us += wall_us


@pytest.mark.parametrize("slice_us", [0, 20_000, 1_000_000])
def test_runs_are_where_they_were_recorded(slice_us: int) -> None:
    """Each moment has the stack that it had, or one of the same slice."""
    chance = random.Random(3)
    for seed in range(4):
        recording = random_recording(seed)
        grouping = Grouping(recording.profiles, "line")
        for profile, track in recording.tracks():
            time = ThreadTime(profile, track, grouping, recording.start_ns)
            begin_us, runs = (track.start_ns - recording.start_ns) // 1000, list(track.runs())
            assert time.start_us == begin_us
            if slice_us:
                time.merge_within(slice_us)
            found = list(places(time))
            for _ in range(50 if runs else 0):
                run = chance.choice(runs)
                seen_us = (run.start_ns - recording.start_ns + run.weight_ns // 2) / 1000
                near = slice_us + 200  # of rounding
                at = {
                    stack
                    for begin_us, end_us, stack in found
                    if begin_us - near <= seen_us <= end_us + near
                }
                assert run.weight_ns < 1000 or grouping.stack_of_run(profile, run) in at


def test_a_long_run_stays_where_it_is() -> None:
    """What begins in a slice and goes on for long is not moved before what followed it."""
    writer = BatchWriter()
    thread = writer.thread(1)
    a, b = Frame("a"), Frame("b")
    at_ms = 0
    for frame, length_ms in ((a, 5), (b, 1), (a, 500), (b, 3), (a, 2), (b, 1)):
        at_ms += length_ms
        writer.sample(thread, at_ms * MS, length_ms * MS, [frame])
    recording = recording_of(writer, start_ns=0)
    ((profile, track),) = recording.tracks()
    grouping = Grouping(recording.profiles, "line")
    time = ThreadTime(profile, track, grouping, recording.start_ns)
    time.merge_within(50_000)
    lengths = [end_us - begin_us for begin_us, end_us, _ in places(time)]
    assert lengths == [5000, 1000, 500_000, 4000, 2000]


def test_what_the_page_knows_of_a_state() -> None:
    flags = thread_time._flags
    known = SampleState.CPU_KNOWN
    assert flags(0) == 0
    assert flags(known) == thread_time.WAITED
    assert flags(known | SampleState.ON_CPU) == thread_time.RAN
    assert flags(SampleState.HOLDS_GIL) == thread_time.HELD_GIL
    assert flags(SampleState.WAITS_FOR_GIL) == thread_time.WAITED_FOR_GIL
    assert flags(SampleState.GC) == thread_time.COLLECTED


def test_few_runs_keep_their_times() -> None:
    recording = random_recording(1)
    grouping = Grouping(recording.profiles, "line")
    threads = [ThreadTime(*one, grouping, recording.start_ns) for one in recording.tracks()]
    assert bound(threads, 10**7) == 0
