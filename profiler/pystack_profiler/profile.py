"""What a recording knows: of each process tables of distinct things, and what its threads did when.

A stack is (parent stack, frame), parents before children, so a sample holds one integer and equal
stacks have equal ids. What a thread did is a `Track`: runs of equal samples, one after another.

A profile holds the ids of ONE sampler, so of one process; a `Recording` is all profiles of one run.
Whatever shows several of them brings them together by name.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from sys import intern
from typing import Literal, Protocol, TypedDict

from .contention import Contention
from .track import ThreadIdentity, Track

#: Runs kept before the order in time is given up below a growing window. A million runs are a
#: speedscope file of some 100 MB, more than a browser opens gladly.
MAX_RUNS = 1_000_000

_FIRST_WINDOW_NS = 10_000_000

EndReason = Literal["running", "stopped", "target_exited", "failed"]


class SamplerStats(TypedDict):
    """The sampler's own counts; see `pystack._core.SamplerStats`."""

    attempted: int
    taken: int
    torn: int
    failed: int
    vanished: int
    ticks: int
    late: int
    missed: int
    elapsed_ns: int
    cpu_ns: int
    stop_ns_total: int
    stop_ns_max: int
    stops: list[int]
    partly_merged: int


class Batch(Protocol):
    """Columns of samples, equal neighbours as one, and the table rows that are new in it."""

    @property
    def time_ns(self) -> Sequence[int]: ...
    @property
    def weight_ns(self) -> Sequence[int]: ...
    @property
    def count(self) -> Sequence[int]: ...
    @property
    def thread(self) -> Sequence[int]: ...
    @property
    def stack(self) -> Sequence[int]: ...
    @property
    def state(self) -> Sequence[int]: ...
    @property
    def strings(self) -> Sequence[str]: ...
    @property
    def frame_kind(self) -> Sequence[int]: ...
    @property
    def frame_function(self) -> Sequence[int]: ...
    @property
    def frame_file(self) -> Sequence[int]: ...
    @property
    def frame_line(self) -> Sequence[int]: ...
    @property
    def frame_first_line(self) -> Sequence[int]: ...
    @property
    def stack_parent(self) -> Sequence[int]: ...
    @property
    def stack_frame(self) -> Sequence[int]: ...
    @property
    def threads(self) -> Sequence[tuple[int, int, int, int, str]]: ...
    @property
    def finished(self) -> bool: ...


@dataclass(slots=True)
class ProcessFacts:
    """Which process a profile is of, and how its sampling ended."""

    pid: int
    command: tuple[str, ...] = ()
    python_version: str = ""
    start_ns: int = 0  # monotonic clock, as the samples' times
    end_ns: int = 0
    end_reason: EndReason = "running"
    error: str | None = None  # one sentence, where it ended in a failure


class Profile:
    """Tables, tracks and loss counters of one process.

    Memory grows with distinct stacks, and with runs up to `max_runs`; beyond that the order of
    samples is kept only to `time_resolution_ns`, while every sum stays exact.
    """

    def __init__(self, process: ProcessFacts, *, max_runs: int = MAX_RUNS) -> None:
        self.process = process
        self.stats: SamplerStats | None = None
        self.contention = Contention()
        self.time_resolution_ns = 0  # 0: every sample is at its own time
        self.strings: list[str] = []
        self.frame_kind = array("B")
        self.frame_function = array("I")
        self.frame_file = array("I")
        self.frame_line = array("i")
        self.frame_first_line = array("i")
        self.stack_parent = array("I")
        self.stack_frame = array("I")
        self.tracks: list[Track] = []
        self._max_runs = max_runs
        self._runs_allowed = max_runs

    @property
    def start_ns(self) -> int:
        """When the sampling began, or the first weight, whichever is earlier."""
        starts = [track.start_ns for track in self.tracks if track.run_count]
        if self.process.start_ns:
            starts.append(self.process.start_ns)
        return min(starts, default=0)

    @property
    def end_ns(self) -> int:
        return max([self.process.end_ns, *(track.end_ns for track in self.tracks)])

    @property
    def knows_threads(self) -> bool:
        """Whether a thread was seen that is the process's own."""
        return any(track.identity.tid for track in self.tracks)

    @property
    def sample_count(self) -> int:
        return sum(run.samples for track in self.tracks for run in track.runs())

    @property
    def states(self) -> int:
        """All bits that any sample of any thread had."""
        states = 0
        for track in self.tracks:
            states |= track.states
        return states

    def append(self, batch: Batch) -> None:
        self._append_rows(batch)
        tracks = self.tracks
        for time_ns, weight_ns, samples, thread, stack, state in zip(
            batch.time_ns,
            batch.weight_ns,
            batch.count,
            batch.thread,
            batch.stack,
            batch.state,
            strict=True,
        ):
            track = tracks[thread]
            if (
                stack == track.open_stack
                and state == track.open_state
                and track.open_samples
                and time_ns - weight_ns <= track.end_ns
            ):
                track.open_weight_ns += weight_ns
                track.open_samples += samples
                track.end_ns = time_ns
            else:
                track.begin_run(time_ns, weight_ns, stack, state, samples)
        if self._run_count() > self._runs_allowed:
            self._coarsen()

    def drop_foreign_threads(self) -> None:
        """Takes out threads that the process does not have; to be called once, before `finish`."""
        foreign = [track for track in self.tracks if not track.identity.tid]
        for track in foreign:
            self.tracks.remove(track)
        self.contention.forget(foreign)
        if self.stats is not None:
            samples = sum(run.samples for track in foreign for run in track.runs())
            self.stats["attempted"] -= samples
            self.stats["taken"] -= samples

    def finish(self) -> None:
        """To be called when no more batches come."""
        self.contention.add_up(self.tracks, self.end_ns)

    def _append_rows(self, batch: Batch) -> None:
        # Processes of one program have the same strings; one of each is enough.
        self.strings.extend(map(intern, batch.strings))
        self.frame_kind.extend(batch.frame_kind)
        self.frame_function.extend(batch.frame_function)
        self.frame_file.extend(batch.frame_file)
        self.frame_line.extend(batch.frame_line)
        self.frame_first_line.extend(batch.frame_first_line)
        self.stack_parent.extend(batch.stack_parent)
        self.stack_frame.extend(batch.stack_frame)
        for index, pid, tid, interpreter_id, name in batch.threads:
            identity = ThreadIdentity(pid, tid, interpreter_id, name)
            if index == len(self.tracks):
                self.tracks.append(Track(identity))
            else:
                self.tracks[index].identity = identity

    def _run_count(self) -> int:
        return sum(track.run_count for track in self.tracks)

    def _coarsen(self) -> None:
        # What needs the order in time is worked out before that goes.
        self.contention.add_up(self.tracks, self.end_ns)
        window_ns = self.time_resolution_ns or _FIRST_WINDOW_NS
        duration_ns = self.end_ns - self.start_ns
        while True:
            self.time_resolution_ns = window_ns
            for track in self.tracks:
                track.coarsen(window_ns)
            if self._run_count() <= self._max_runs // 2 or window_ns >= duration_ns:
                break
            window_ns *= 4
        # Where nothing more can be merged, growth is allowed: it is distinct stacks now.
        self._runs_allowed = max(self._max_runs, 2 * self._run_count())


@dataclass(slots=True)
class Recording:
    """One run of the recorder: how it was done, and the profile of each process that it met."""

    pid: int  # the process that was asked for; it may have no profile, as a shell has none
    command: tuple[str, ...] = ()
    tool_version: str = ""
    rate_hz: float = 0.0
    stops_target: bool = False
    native: bool = False  # whether stacks have native frames
    subprocesses: bool = False
    other_processes: int = 0  # descendants that were not Python
    unseen_processes: int = 0  # Python, but gone before the first sample
    start_time_ns: int = 0  # realtime clock
    began_ns: int = 0  # monotonic clock
    ended_ns: int = 0
    end_reason: EndReason = "running"
    error: str | None = None
    tool_cpu_ns: int = 0  # the whole tool, all its threads, while it recorded
    profiles: list[Profile] = field(default_factory=list)

    @property
    def start_ns(self) -> int:
        starts = [profile.start_ns for profile in self.profiles]
        if self.began_ns:
            starts.append(self.began_ns)
        return min(starts, default=0)

    @property
    def end_ns(self) -> int:
        return max([self.ended_ns, *(profile.end_ns for profile in self.profiles)])

    @property
    def duration_ns(self) -> int:
        return max(0, self.end_ns - self.start_ns)

    @property
    def sample_count(self) -> int:
        return sum(profile.sample_count for profile in self.profiles)

    @property
    def states(self) -> int:
        """All bits that any sample had."""
        states = 0
        for profile in self.profiles:
            states |= profile.states
        return states

    @property
    def time_resolution_ns(self) -> int:
        return max((profile.time_resolution_ns for profile in self.profiles), default=0)

    @property
    def stats(self) -> SamplerStats:
        """The counters of all samplers together."""
        total = no_stats()
        for profile in self.profiles:
            if profile.stats is not None:
                add_stats(total, profile.stats)
        return total

    def tracks(self) -> Iterator[tuple[Profile, Track]]:
        return ((profile, track) for profile in self.profiles for track in profile.tracks)


def no_stats() -> SamplerStats:
    return SamplerStats(
        attempted=0,
        taken=0,
        torn=0,
        failed=0,
        vanished=0,
        ticks=0,
        late=0,
        missed=0,
        elapsed_ns=0,
        cpu_ns=0,
        stop_ns_total=0,
        stop_ns_max=0,
        stops=[],
        partly_merged=0,
    )


def add_stats(total: SamplerStats, stats: SamplerStats) -> None:
    """Adds up what adds up; the longest stop is the longest of all."""
    for name, value in stats.items():
        if name == "stops":
            pairs = zip_longest(total["stops"], stats["stops"], fillvalue=0)
            total["stops"] = [one + other for one, other in pairs]
        else:
            total[name] += value  # type: ignore[literal-required]
    longest_ns = max(total["stop_ns_max"] - stats["stop_ns_max"], stats["stop_ns_max"])
    total["stop_ns_max"] = longest_ns
