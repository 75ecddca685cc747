"""The data of a recording: for each process, the tables of its sampler and a window of its samples.

The IDs of a profile come from ONE sampler, that is, from one process. A `Recording` has the profiles of
all processes; code that shows several profiles merges them by name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from .batch import Batch
from .contention import Contention
from .counts import add_stats, no_stats
from .tables import SymbolTables
from .track import ThreadIdentity, Track
from .window import Window

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats

    from .view import Mode

#: "continued": the recording went on after this window.
EndReason = Literal["running", "continued", "stopped", "target_exited", "failed"]


#: For the tables and the windows of all profiles, while they grow. The child of a fork does not have the
#: thread that makes them grow, so none may be in the middle of it then.
_growing = threading.RLock()
os.register_at_fork(
    before=_growing.acquire,
    after_in_parent=_growing.release,
    after_in_child=_growing.release,
)


@dataclass(slots=True)
class ProcessFacts:
    """The process of a profile, and how its sampling ended."""

    pid: int
    command: tuple[str, ...] = ()
    python_version: str = ""
    #: Version and file of those that were loaded beside the recorded one; known at the end.
    other_interpreters: tuple[str, ...] = ()
    start_ns: int = 0  # monotonic clock, as the samples' times
    end_ns: int = 0
    end_reason: EndReason = "running"
    error: str | None = None  # one sentence, if it failed


class Profile:
    """A process with the tables of its sampler and its current window."""

    def __init__(
        self,
        process: ProcessFacts,
        tables: SymbolTables | None = None,
        window: Window | None = None,
        *,
        only_own_threads: bool = False,
        identities: list[ThreadIdentity] | None = None,
    ) -> None:
        """`only_own_threads`: windows leave out threads that do not belong to the process. `identities`
        are those of all threads by the sampler's numbers."""
        self.process = process
        self.tables = SymbolTables() if tables is None else tables
        self.window = Window() if window is None else window
        self.window.called_interpreters = self.tables.called_interpreters
        self._had_threads = False  # in a window before this one
        self._only_own_threads = only_own_threads
        self._identities = [] if identities is None else identities

    @property
    def only_own_threads(self) -> bool:
        return self._only_own_threads

    @property
    def tracks(self) -> list[Track]:
        return self.window.tracks

    @property
    def task_tracks(self) -> list[Track]:
        """The rows of tasks. Their times overlap those of the threads."""
        return self.window.task_tracks

    @property
    def all_tracks(self) -> Sequence[Track]:
        """Those of threads, then those of tasks."""
        return self.window.all_tracks

    @property
    def stats(self) -> SamplerStats:
        return self.window.stats

    @property
    def contention(self) -> Contention:
        return self.window.contention

    @property
    def time_resolution_ns(self) -> int:
        """0: every sample has its exact time."""
        return self.window.time_resolution_ns

    @property
    def start_ns(self) -> int:
        """The start of sampling or of the first weight, whichever is earlier."""
        starts = (self.window.start_ns, self.process.start_ns or None)
        return min((start for start in starts if start is not None), default=0)

    @property
    def end_ns(self) -> int:
        return max(self.process.end_ns, self.window.end_ns)

    @property
    def knows_threads(self) -> bool:
        """Whether a thread of the process itself was sampled."""
        return any(identity.tid for identity in self._identities)

    @property
    def identities(self) -> Sequence[ThreadIdentity]:
        """Those of all threads so far, by the sampler's numbers."""
        return self._identities

    def identity_of(self, number: int) -> ThreadIdentity | None:
        """The thread with this number of the sampler, whether it has samples in this window or not."""
        return self._identities[number] if number < len(self._identities) else None

    @property
    def was_seen(self) -> bool:
        """Whether this window or an earlier one has threads."""
        return self._had_threads or bool(self.tracks)

    @property
    def sample_count(self) -> int:
        return sum(run.samples for track in self.tracks for run in track.runs())

    @property
    def left_out_samples(self) -> int:
        """The number of samples whose stacks lack frames because of the memory limit."""
        is_cut = self.tables.left_out_stacks()
        if not is_cut:
            return 0
        return sum(
            run.samples for track in self.tracks for run in track.runs() if is_cut[run.stack]
        )

    @property
    def states(self) -> int:
        """The union of the state bits of all samples."""
        states = 0
        for track in self.tracks:
            states |= track.states
        return states

    def append(self, batch: Batch) -> None:
        with _growing:
            self.tables.append(batch)
            for index, pid, tid, interpreter_id, name, is_of_tasks in batch.threads:
                identity = ThreadIdentity(pid, tid, interpreter_id, name, is_of_tasks)
                self._identities[index : index + 1] = [identity]
                self.window.identify(index, identity)
            self.window.append(batch, self._identities)

    def of_tasks(self) -> Profile:
        """The same process with the rows of tasks in place of its threads."""
        return Profile(self.process, self.tables, self.window.of_tasks())

    def finish(self) -> None:
        """Call this after the last batch."""
        with _growing:
            if self._only_own_threads:
                self.window.drop_foreign_threads()

    def snapshot(self) -> Profile:
        """A copy that no longer changes. Any thread may take one."""
        with _growing:
            copied = Profile(
                replace(self.process),
                self.tables.copy(),
                self.window.copy(),
                only_own_threads=self._only_own_threads,
                identities=self._identities[:],
            )
        copied.finish()
        return copied

    def succeed(self) -> Profile:
        """Ends this profile. Returns the one for the time after it, whose tables are empty."""
        with _growing:
            end_ns = max(self.window.end_ns, self.process.start_ns)
            following = Profile(
                replace(self.process, start_ns=end_ns),
                window=self.window.successor(),
                only_own_threads=self._only_own_threads,
            )
            following._had_threads = self.was_seen
            self.process.end_ns = end_ns
            self.process.end_reason = "continued"
        self.finish()
        return following

    def cut(self) -> Profile:
        """Ends the current window and begins a new one. Returns a profile with the one that ended, on
        the same tables.

        The windows meet at the last sample, so a first weight can begin slightly before its window.
        """
        with _growing:
            end_ns = max(self.end_ns, self.process.start_ns)
            closed = Profile(
                replace(self.process, end_ns=end_ns, end_reason="continued"),
                self.tables,
                self.window,
                only_own_threads=self._only_own_threads,
                identities=self._identities[:],
            )
            self.window = self.window.successor()
            self.window.called_interpreters = self.tables.called_interpreters
            self.process.start_ns = end_ns
        closed.finish()
        self._had_threads = self._had_threads or bool(closed.tracks)
        return closed


@dataclass(slots=True)
class Recording:
    """One run of the recorder: its settings, and the profile of each process.

    It grows while it runs. Only the thread that drives it may look at it then, in `on_progress`; other
    threads take a `snapshot`.
    """

    pid: int  # the requested process; it may have no profile, for example a shell
    command: tuple[str, ...] = ()
    tool_version: str = ""
    rate_hz: float = 0.0
    stops_target: bool = False  # each running thread, for its sample
    native: bool = False  # whether stacks have native frames
    max_cpu_share: float = 1.0  # of one CPU, for sampling each process; 1: no limit
    max_pause_share: float = 1.0  # of the time, for stopped threads of each process; 1: no limit
    subprocesses: bool = False
    other_processes: int = 0  # descendants that were not Python
    left_out_processes: int = 0  # descendants beyond the limit, Python or not
    unseen_processes: int = 0  # descendants that exited before the first sample
    dead_children_ns: int = 0  # CPU time of descendants that exited meanwhile, recorded or not
    python_children: int = 0  # that were not recorded; only `pystack record` counts them
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

    def unix_time_ns(self, time_ns: int) -> int:
        """A time of the monotonic clock, as that of samples, as nanoseconds since 1970."""
        return max(0, self.start_time_ns + time_ns - (self.began_ns or self.start_ns))

    @property
    def sample_count(self) -> int:
        return sum(profile.sample_count for profile in self.profiles)

    @property
    def left_out_samples(self) -> int:
        return sum(profile.left_out_samples for profile in self.profiles)

    @property
    def states(self) -> int:
        """The union of the state bits of all samples."""
        states = 0
        for profile in self.profiles:
            states |= profile.states
        return states

    @property
    def time_resolution_ns(self) -> int:
        return max((profile.time_resolution_ns for profile in self.profiles), default=0)

    @property
    def stats(self) -> SamplerStats:
        """The sums of the counters of all samplers."""
        total = no_stats()
        for profile in self.profiles:
            add_stats(total, profile.stats)
        return total

    @property
    def has_tasks(self) -> bool:
        """Whether tasks were seen."""
        return any(profile.task_tracks for profile in self.profiles)

    def in_mode(self, mode: Mode) -> Recording:
        """What the mode shows: the tasks for "tasks", else the threads."""
        if mode != "tasks":
            return self
        return replace(self, profiles=[profile.of_tasks() for profile in self.profiles])

    def tracks(self) -> Iterator[tuple[Profile, Track]]:
        return ((profile, track) for profile in self.profiles for track in profile.tracks)

    def snapshot(self) -> Recording:
        """A copy of what was recorded so far, which no longer changes. Any thread may take one."""
        return replace(self, profiles=[profile.snapshot() for profile in self.profiles])

    def cut(self) -> Recording:
        """Ends the current windows and begins new ones, on the same tables.

        Returns what was recorded since the last cut: nothing is lost, and nothing is in two windows.
        Only the thread that drives the recording may call this. Take a `snapshot` of the result if
        another thread uses it.
        """
        return self.close([profile.cut() for profile in self.profiles])

    def close(self, profiles: list[Profile]) -> Recording:
        """As `cut`, with these profiles for the time until now."""
        closed = replace(self, profiles=profiles, end_reason="continued")
        closed.ended_ns = max(closed.end_ns, self.began_ns)
        if self.began_ns:
            self.start_time_ns += closed.ended_ns - self.began_ns
        self.began_ns = closed.ended_ns
        self.tool_cpu_ns = 0
        return closed
