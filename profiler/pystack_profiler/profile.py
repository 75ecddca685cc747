"""The recording of one sampler: tables of distinct things, and what each thread did when.

A stack is (parent stack, frame), parents before children, so a sample holds one integer and equal
stacks have equal ids. What a thread did is a `Track`: runs of equal samples, one after another.

A profile holds the ids of ONE sampler. Several processes are several profiles; exporters bring
them together by name.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypedDict

EMPTY_STACK = 0

#: Runs kept before the order in time is given up below a growing window. A million runs are a
#: speedscope file of some 100 MB, more than a browser opens gladly.
MAX_RUNS = 1_000_000

_FIRST_WINDOW_NS = 10_000_000

EndReason = Literal["running", "stopped", "target_exited", "failed"]


class SampleState:
    """Bits of a sample's state, as `pystack`'s sampler sets them."""

    HOLDS_GIL = 1
    WAITS_FOR_GIL = 2
    ON_CPU = 4
    GC = 8
    CPU_KNOWN = 16
    GIL_KNOWN = 32


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


class Run(NamedTuple):
    """Neighbouring samples of one thread that saw the same stack in the same state.

    `samples == 0` is a gap: time in which the thread was not seen; its stack is the empty one.
    """

    start_ns: int
    weight_ns: int
    stack: int
    state: int
    samples: int


@dataclass(frozen=True, slots=True)
class ThreadIdentity:
    """What a thread is called by the kernel and by Python."""

    pid: int
    tid: int
    interpreter_id: int
    name: str


class Track:
    """The runs of one thread, in the order of time, without holes: gaps are runs too."""

    __slots__ = (
        "_samples",
        "_stack",
        "_state",
        "_weight_ns",
        "changes",
        "end_ns",
        "identity",
        "open_samples",
        "open_stack",
        "open_state",
        "open_weight_ns",
        "start_ns",
    )

    def __init__(self, identity: ThreadIdentity) -> None:
        self.identity = identity
        self.start_ns = 0
        self.end_ns = 0
        self.changes = 0  # how often a run followed another; says how lively the thread is
        # The last run is kept apart, so that an equal sample costs two additions.
        self.open_stack = EMPTY_STACK
        self.open_state = 0
        self.open_weight_ns = 0
        self.open_samples = 0
        self._weight_ns = array("Q")
        self._stack = array("I")
        self._state = array("B")
        self._samples = array("I")

    @property
    def run_count(self) -> int:
        return len(self._stack) + (self.open_samples > 0)

    def begin_run(self, time_ns: int, weight_ns: int, stack: int, state: int, samples: int) -> None:
        """Starts a run with samples up to `time_ns`, after a gap where there was one."""
        start_ns = time_ns - weight_ns
        if self.open_samples == 0:
            self.start_ns = start_ns
        else:
            self._close_run()
            if start_ns > self.end_ns:
                self._add(start_ns - self.end_ns, EMPTY_STACK, 0, 0)
            self.changes += 1
        self.open_stack = stack
        self.open_state = state
        self.open_weight_ns = weight_ns
        self.open_samples = samples
        self.end_ns = time_ns

    def runs(self) -> Iterator[Run]:
        start_ns = self.start_ns
        for weight_ns, stack, state, samples in zip(
            self._weight_ns, self._stack, self._state, self._samples, strict=True
        ):
            yield Run(start_ns, weight_ns, stack, state, samples)
            start_ns += weight_ns
        if self.open_samples:
            yield Run(
                start_ns, self.open_weight_ns, self.open_stack, self.open_state, self.open_samples
            )

    def coarsen(self, window_ns: int) -> None:
        """Merges equal runs that begin in the same window. Sums stay; order in a window goes."""
        closed = list(zip(self._weight_ns, self._stack, self._state, self._samples, strict=True))
        for column in (self._weight_ns, self._stack, self._state, self._samples):
            del column[:]
        window: dict[tuple[int, int, bool], list[int]] = {}
        begin_ns = window_end_ns = 0
        for weight_ns, stack, state, samples in closed:
            if begin_ns >= window_end_ns:
                self._add_window(window)
                window_end_ns = (begin_ns // window_ns + 1) * window_ns
            sums = window.setdefault((stack, state, samples == 0), [0, 0])
            sums[0] += weight_ns
            sums[1] += samples
            begin_ns += weight_ns
        self._add_window(window)

    def _add_window(self, window: dict[tuple[int, int, bool], list[int]]) -> None:
        for (stack, state, _), (weight_ns, samples) in window.items():
            self._add(weight_ns, stack, state, samples)
        window.clear()

    def _close_run(self) -> None:
        self._add(self.open_weight_ns, self.open_stack, self.open_state, self.open_samples)

    def _add(self, weight_ns: int, stack: int, state: int, samples: int) -> None:
        self._weight_ns.append(weight_ns)
        self._stack.append(stack)
        self._state.append(state)
        self._samples.append(samples)


@dataclass(slots=True)
class Metadata:
    """What was recorded, how, and how it ended."""

    pid: int
    command: tuple[str, ...] = ()
    python_version: str = ""
    tool_version: str = ""
    rate_hz: float = 0.0
    stops_target: bool = False
    start_time_ns: int = 0  # realtime clock
    start_ns: int = 0  # monotonic clock, as the samples' times
    end_ns: int = 0
    end_reason: EndReason = "running"
    error: str | None = None  # one sentence, where the recording ended in a failure
    tool_cpu_ns: int = 0  # the whole tool, all its threads, while it recorded


class Profile:
    """Tables, tracks, metadata and loss counters of one recording.

    Memory grows with distinct stacks, and with runs up to `max_runs`; beyond that the order of
    samples is kept only to `time_resolution_ns`, while every sum stays exact.
    """

    def __init__(self, metadata: Metadata, *, max_runs: int = MAX_RUNS) -> None:
        self.metadata = metadata
        self.stats: SamplerStats | None = None
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
        """When the recording began, or the first weight, whichever is earlier."""
        starts = [track.start_ns for track in self.tracks if track.run_count]
        if self.metadata.start_ns:
            starts.append(self.metadata.start_ns)
        return min(starts, default=0)

    @property
    def end_ns(self) -> int:
        return max([self.metadata.end_ns, *(track.end_ns for track in self.tracks)])

    @property
    def duration_ns(self) -> int:
        return max(0, self.end_ns - self.start_ns)

    @property
    def sample_count(self) -> int:
        return sum(run.samples for track in self.tracks for run in track.runs())

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

    def _append_rows(self, batch: Batch) -> None:
        self.strings.extend(batch.strings)
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
        window_ns = self.time_resolution_ns or _FIRST_WINDOW_NS
        while True:
            self.time_resolution_ns = window_ns
            for track in self.tracks:
                track.coarsen(window_ns)
            if self._run_count() <= self._max_runs // 2 or window_ns >= self.duration_ns:
                break
            window_ns *= 4
        # Where nothing more can be merged, growth is allowed: it is distinct stacks now.
        self._runs_allowed = max(self._max_runs, 2 * self._run_count())
