"""The state and the times of each thread, in which the past counts less and less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pystack.sampling import SampleState

from ..grouping import Grouping
from ..profile import Profile
from ..track import Run, Track
from .decay import DecayedSums
from .selection import ThreadKey
from .slices import Slice

#: What is added up per thread. "native": time on a CPU in native code that is not the interpreter's.
Kind = Literal["cpu", "runnable", "held", "waited", "gc", "native"]

#: Without samples for this time, a thread or process is not shown any more.
_FORGOTTEN_NS = 10_000_000_000


@dataclass(slots=True)
class LastSample:
    profile: Profile
    track: Track  # of the window with the last sample
    states: int  # the union of the state bits of all samples
    time_ns: int
    run: Run


class ThreadTimes:
    def __init__(self, grouping: Grouping) -> None:
        self.times = DecayedSums[tuple[ThreadKey, Kind]]()
        self.elapsed_ns = DecayedSums[None]()
        self.last: dict[ThreadKey, LastSample] = {}
        self._grouping = grouping
        self._end_ns = 0  # the last sample of all

    def add(self, one: Slice) -> None:
        seconds = one.elapsed_ns / 1e9
        self.times.age(seconds)
        self.elapsed_ns.age(seconds)
        self.elapsed_ns.add(None, one.elapsed_ns)
        for profile, window in one.windows.items():
            for track, number in window.numbers.items():
                self._add_track(ThreadKey(profile.process.pid, number), profile, track)
            self._end_ns = max(self._end_ns, window.end_ns)
        oldest_ns = self._end_ns - _FORGOTTEN_NS
        for key in [key for key, last in self.last.items() if last.time_ns < oldest_ns]:
            del self.last[key]

    def share(self, key: ThreadKey, kind: Kind) -> float:
        """Of the time of one thread."""
        elapsed_ns = self.elapsed_ns.get(None)
        return self.times.get((key, kind)) / elapsed_ns if elapsed_ns else 0.0

    def unseen_ns(self, key: ThreadKey) -> int:
        """The time between its last sample and the last one of any thread."""
        return self._end_ns - self.last[key].time_ns

    def _add_track(self, key: ThreadKey, profile: Profile, track: Track) -> None:
        if not track.run_count:
            return
        before = self.last.get(key)
        states = track.states | (before.states if before else 0)
        runs = list(track.runs())
        self.last[key] = LastSample(profile, track, states, track.end_ns, runs[-1])
        sums: dict[Kind, int] = dict.fromkeys(
            ("cpu", "runnable", "held", "waited", "gc", "native"), 0
        )
        sums["cpu"], sums["runnable"] = track.late_cpu_ns, track.late_runnable_ns
        for run in runs:
            sums["cpu"] += run.cpu_ns
            sums["runnable"] += run.runnable_ns
            if run.state & SampleState.HOLDS_GIL:
                sums["held"] += run.weight_ns
            elif run.state & SampleState.WAITS_FOR_GIL:
                sums["waited"] += run.weight_ns
            if run.state & SampleState.GC:
                sums["gc"] += run.weight_ns
            if run.cpu_ns and self._is_native(profile, run.stack):
                sums["native"] += run.cpu_ns
        for kind, time_ns in sums.items():
            if time_ns:
                self.times.add((key, kind), time_ns)

    def _is_native(self, profile: Profile, stack: int) -> bool:
        frame = self._grouping.frame[self._grouping.stack_of(profile, stack, 0)]
        return bool(stack) and self._grouping.frames[frame].kind == "native"
