"""The time of one thread for the flame graph page: its runs in order, and their sums per stack and mode.

All times are whole microseconds. They are rounded so that the runs of a stack in one state add up to the rounded
sum of their nanoseconds, and the sums per stack are those of the runs: however the page divides the time, its
parts add up to the whole.

Packed, a run is its flags (one byte), the step from the stack of the run before it (zigzag), its time and, with the flag
`USED_CPU`, its time on a CPU and its time ready to run without one. Numbers are LEB128.
"""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from pystack.sampling import SampleState

from ..grouping import Grouping
from ..idle import IdleStacks
from ..profile import Profile
from ..track import EMPTY_STACK, Run, Track
from ..view import Mode, time_in_mode

# The flags of a run, as runs.js has them.
RAN = 1
WAITED = 2
HELD_GIL = 4
WAITED_FOR_GIL = 8
COLLECTED = 16
NOT_SAMPLED = 32
USED_CPU = 64
IDLE = 128

_FLAG_BITS = 8
_FLAGS = (1 << _FLAG_BITS) - 1
_HALF = 500  # nanoseconds

#: More runs than this are merged within slices of the time, at first so many slices.
_MOST_RUNS = 300_000
_MOST_SLICES = 2000
_FEWEST_SLICES = 100


class ThreadTime:
    """The runs of a thread, as columns. Neighbours differ in their stack or state."""

    def __init__(self, profile: Profile, track: Track, grouping: Grouping, begin_ns: int) -> None:
        """`begin_ns`: where the page's time begins. Adds stacks to `grouping`."""
        self._start_us = max(0, track.start_ns - begin_ns) // 1000
        self._key = array("Q")  # stack << _FLAG_BITS | flags
        self._wall_us = array("Q")
        self._cpu_us = array("Q")
        self._runnable_us = array("Q")
        self._add_all(track.runs(), profile, grouping)

    def __len__(self) -> int:
        return len(self._key)

    def stacks(self) -> list[int]:
        """Those with runs, in ascending order."""
        return sorted({key >> _FLAG_BITS for key in set(self._key)})

    def in_mode(self, mode: Mode | Literal["idle"]) -> dict[int, int]:
        """Microseconds of each stack that has time in the mode. "idle": the part of the wall time."""
        sums: dict[int, int] = {}
        column = {"cpu": self._cpu_us, "runnable": self._runnable_us}.get(mode, self._wall_us)
        wanted = {"gil": HELD_GIL, "waits": WAITED, "idle": IDLE}.get(mode)
        for key, time_us in zip(self._key, column, strict=True):
            if time_us and (wanted is None or key & wanted):
                stack = key >> _FLAG_BITS
                sums[stack] = sums.get(stack, 0) + time_us
        return sums

    def merge_within(self, slice_us: int) -> None:
        """Merges equal runs that are in the same slice of the page's time. A run's place is known to a slice
        then; all sums stay as they are."""
        rows = list(self._rows())
        for column in self._columns():
            del column[:]
        within: dict[int, list[int]] = {}
        at_us, slice_end_us = self._start_us, 0
        for key, *times_us in rows:
            if at_us >= slice_end_us:
                self._add_merged(within)
                slice_end_us = (at_us // slice_us + 1) * slice_us
            at_us += times_us[0]
            if at_us > slice_end_us:  # It goes on in the next slice.
                self._add_merged(within)
                self._add(key, *times_us)
            else:
                sums = within.setdefault(key, [0, 0, 0])
                for place, time_us in enumerate(times_us):
                    sums[place] += time_us
        self._add_merged(within)

    def packed(self) -> str:
        """The runs, in base64."""
        data = bytearray()
        before = 0
        for key, wall_us, cpu_us, runnable_us in self._rows():
            flags = key & _FLAGS
            stack = key >> _FLAG_BITS
            step = stack - before
            before = stack
            used = cpu_us or runnable_us
            data.append(flags | USED_CPU if used else flags)
            numbers = (step << 1 if step >= 0 else (-step << 1) - 1, wall_us)
            for number in (*numbers, cpu_us, runnable_us) if used else numbers:
                while number > 127:
                    data.append(number & 127 | 128)
                    number >>= 7
                data.append(number)
        return b64encode(data).decode("ascii")

    @property
    def start_us(self) -> int:
        """Where the first run begins, on the page's clock."""
        return self._start_us

    def _add_all(self, runs: Iterable[Run], profile: Profile, grouping: Grouping) -> None:
        # Inlined, since there can be a million runs.
        flags_of: dict[int, int] = {}
        wall_of: dict[int, int] = {}  # by key: nanoseconds so far, and half a microsecond
        cpu_of: dict[int, int] = {}  # by stack
        runnable_of: dict[int, int] = {}
        stack_of_run = grouping.stack_of_run
        is_idle = IdleStacks(profile).is_idle
        for run in runs:
            stack = stack_of_run(profile, run)
            flags = NOT_SAMPLED
            if run.samples and (known := flags_of.get(run.state)) is not None:
                flags = known
            elif run.samples:
                flags = flags_of[run.state] = _flags(run.state)
            if flags & WAITED and is_idle(run):
                flags |= IDLE
            key = stack << _FLAG_BITS | flags
            before = wall_of.get(key, _HALF)
            after = wall_of[key] = before + run.weight_ns
            wall_us = after // 1000 - before // 1000
            cpu_us = runnable_us = 0
            if run.cpu_ns or run.runnable_ns:
                cpu_us = _rounded(cpu_of, stack, run.cpu_ns)
                runnable_us = _rounded(runnable_of, stack, run.runnable_ns)
            if wall_us or cpu_us or runnable_us:
                self._add(key, wall_us, cpu_us, runnable_us)

    def _add_merged(self, within: dict[int, list[int]]) -> None:
        for key, times_us in within.items():
            self._add(key, *times_us)
        within.clear()

    def _add(self, key: int, wall_us: int, cpu_us: int, runnable_us: int) -> None:
        if self._key and self._key[-1] == key:
            self._wall_us[-1] += wall_us
            self._cpu_us[-1] += cpu_us
            self._runnable_us[-1] += runnable_us
            return
        self._key.append(key)
        self._wall_us.append(wall_us)
        self._cpu_us.append(cpu_us)
        self._runnable_us.append(runnable_us)

    def _rows(self) -> Iterator[tuple[int, int, int, int]]:
        return zip(*self._columns(), strict=True)

    def _columns(self) -> tuple[array[int], array[int], array[int], array[int]]:
        return self._key, self._wall_us, self._cpu_us, self._runnable_us


def bound(threads: Sequence[ThreadTime], duration_us: int) -> int:
    """Merges runs of all threads if there are too many for a page. Returns the slice of the time, in microseconds,
    to which the place of a run is known; 0: exactly."""
    slice_us = 0
    slices = _MOST_SLICES
    while sum(map(len, threads)) > _MOST_RUNS and slices >= _FEWEST_SLICES:
        slice_us = -(-duration_us // _MOST_SLICES) * (_MOST_SLICES // slices)
        for thread in threads:
            thread.merge_within(slice_us)
        slices //= 2
    return slice_us


def _rounded(totals: dict[int, int], key: int, time_ns: int) -> int:
    """The microseconds by which the rounded total of `key` grows."""
    before = totals.get(key, _HALF)
    after = totals[key] = before + time_ns
    return after // 1000 - before // 1000


def _flags(state: int) -> int:
    """What the page has to know of a state: the modes whose time it is, and the colours of the timeline."""
    run = Run(0, 1, EMPTY_STACK, state, 1)
    flags = RAN if state & SampleState.ON_CPU else 0
    flags |= WAITED if time_in_mode("waits", run) else 0
    flags |= HELD_GIL if time_in_mode("gil", run) else 0
    flags |= WAITED_FOR_GIL if state & SampleState.WAITS_FOR_GIL else 0
    return flags | (COLLECTED if state & SampleState.GC else 0)
