"""What was sampled of one process in a stretch of time: its threads' samples, the GIL, the counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .batch import Batch
from .contention import Contention
from .counts import add_stats, no_stats
from .track import ThreadIdentity, Track

#: Beyond this number of runs, the order of samples is kept only to a growing resolution. A million
#: runs make a speedscope file of some 100 MB, which is hard on a browser.
MAX_RUNS = 1_000_000

_FIRST_RESOLUTION_NS = 10_000_000


class Window:
    """The tracks, the contention and the counts of a stretch of time. Stacks are IDs of the tables.

    Memory grows with the number of runs up to `max_runs`. Beyond that, the order of samples is kept
    only to `time_resolution_ns`; all sums stay exact.
    """

    def __init__(self, *, max_runs: int = MAX_RUNS) -> None:
        self.tracks: list[Track] = []
        #: Rows of tasks, whose times overlap those of the threads: see `ThreadIdentity.is_of_tasks`.
        self.task_tracks: list[Track] = []
        self.stats = no_stats()
        self.time_resolution_ns = 0  # 0: every sample has its exact time
        self._track_of_thread: dict[int, Track] = {}
        self._charged = Contention()  # up to the last loss of order
        self._contention: Contention | None = None  # up to the last sample; None: not yet known
        self._max_runs = max_runs
        self._runs_allowed = max_runs
        #: `SymbolTables.called_interpreters` of the tables of the stacks.
        self.called_interpreters: Callable[[], Mapping[int, int]] = dict

    @classmethod
    def of_tracks(cls, tracks: Mapping[int, Track], contention: Contention) -> Window:
        """A window that does not grow. Its contention need not follow from its tracks, whose order may
        be lost."""
        window = cls()
        for track in tracks.values():
            window._list_of(track).append(track)
        window._track_of_thread = dict(tracks)
        window._contention = contention
        return window

    @property
    def start_ns(self) -> int | None:
        """The start of the first weight; None without samples."""
        return min((track.start_ns for track in self.tracks if track.run_count), default=None)

    @property
    def end_ns(self) -> int:
        """The time of the last sample; 0 without samples."""
        return max((track.end_ns for track in self.tracks), default=0)

    @property
    def contention(self) -> Contention:
        """Who waited for the GIL, up to the last sample."""
        if self._contention is None:
            self._contention = self._charged.copy()
            self._contention.add_up(self.tracks, self.end_ns, self.called_interpreters())
        return self._contention

    @property
    def numbers(self) -> dict[Track, int]:
        """The sampler's number of each thread."""
        return {track: thread for thread, track in self._track_of_thread.items()}

    @property
    def all_tracks(self) -> Sequence[Track]:
        """Those of threads, then those of tasks."""
        return [*self.tracks, *self.task_tracks]

    def identify(self, thread: int, identity: ThreadIdentity) -> None:
        """Adds a thread, or gives it another identity."""
        track = self._track_of_thread.get(thread)
        if track is None:
            track = self._track_of_thread[thread] = Track(identity)
            self._list_of(track).append(track)
        else:
            track.identity = identity

    def append(self, batch: Batch, identities: Sequence[ThreadIdentity]) -> None:
        """Adds the samples and the counts of a batch. `identities` are those of all threads so far."""
        self._contention = None
        add_stats(self.stats, batch.stats)
        for thread in sorted(set(batch.thread) - self._track_of_thread.keys()):
            self.identify(thread, identities[thread])
        tracks = self._track_of_thread
        for time_ns, weight_ns, samples, thread, stack, state, cpu_ns, runnable_ns, wait in zip(
            batch.time_ns,
            batch.weight_ns,
            batch.count,
            batch.thread,
            batch.stack,
            batch.state,
            batch.cpu_ns,
            batch.runnable_ns,
            batch.wait,
            strict=True,
        ):
            track = tracks[thread]
            if (
                stack == track.open_stack
                and state == track.open_state
                and wait == track.open_wait
                and track.open_samples
                and time_ns - weight_ns <= track.end_ns
            ):
                track.open_weight_ns += weight_ns
                track.open_samples += samples
                track.open_cpu_ns += cpu_ns
                track.open_runnable_ns += runnable_ns
                track.end_ns = time_ns
            else:
                track.begin_run(
                    time_ns, weight_ns, stack, state, samples, cpu_ns, runnable_ns, wait
                )
        for thread, cpu_ns, runnable_ns in batch.late_cpu:
            if thread in tracks:
                tracks[thread].add_late_cpu(cpu_ns, runnable_ns)
        if self._run_count() > self._runs_allowed:
            self._coarsen()

    def drop_foreign_threads(self) -> None:
        """Removes threads that do not belong to the process. Call this after the last batch."""
        self.drop_thread(0)

    def drop_thread(self, tid: int) -> None:
        """Removes a thread with all that it did. Call this after the last batch."""
        dropped = [track for track in self.tracks if track.identity.tid == tid]
        if not dropped:
            return
        self._charged = self.contention
        self._charged.forget(dropped)
        self._contention = None
        for track in dropped:
            self.tracks.remove(track)
        samples = sum(run.samples for track in dropped for run in track.runs())
        self.stats["attempted"] -= samples
        self.stats["taken"] -= samples

    def of_tasks(self) -> Window:
        """The rows of tasks alone, as if they were threads. The counts are still those of all."""
        window = Window()
        window.tracks, window.stats = self.task_tracks, self.stats
        window.time_resolution_ns = self.time_resolution_ns
        window._contention = Contention()
        return window

    def successor(self) -> Window:
        """An empty window with the same limit, for the time after this one."""
        return Window(max_runs=self._max_runs)

    def copy(self) -> Window:
        """A window with the same data, to look at while this one grows."""
        copied = Window(max_runs=self._max_runs)
        copy_of = {track: track.copy() for track in self.all_tracks}
        for track in copy_of.values():
            copied._list_of(track).append(track)
        add_stats(copied.stats, self.stats)
        copied.time_resolution_ns = self.time_resolution_ns
        copied._track_of_thread = {
            thread: copy_of[track]
            for thread, track in self._track_of_thread.items()
            if track in copy_of  # and was not dropped
        }
        copied._charged = self._charged.copy(copy_of)
        copied._runs_allowed = self._runs_allowed
        return copied

    def _list_of(self, track: Track) -> list[Track]:
        return self.task_tracks if track.identity.is_of_tasks else self.tracks

    def _run_count(self) -> int:
        return sum(track.run_count for track in self.all_tracks)

    def _coarsen(self) -> None:
        # The contention needs the order in time, which is lost below.
        self._charged = self.contention
        self._contention = None
        resolution_ns = self.time_resolution_ns or _FIRST_RESOLUTION_NS
        duration_ns = self.end_ns - (self.start_ns or 0)
        while True:
            self.time_resolution_ns = resolution_ns
            for track in self.all_tracks:
                track.coarsen(resolution_ns)
            if self._run_count() <= self._max_runs // 2 or resolution_ns >= duration_ns:
                break
            resolution_ns *= 4
        # If no more runs can be merged, allow growth: the stacks differ.
        self._runs_allowed = max(self._max_runs, 2 * self._run_count())
