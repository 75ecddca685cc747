"""Drives samplers: collects their batches in profiles until a stop is requested or the targets end.

This module knows no command line, no signals and no files.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pystack
from pystack.errors import PystackError

from .counts import add_stats, no_stats
from .cpu_budget import CpuBudget
from .process_recorder import POLL_S, BatchLog, ProcessRecorder, Sampler, command_line
from .profile import Profile, Recording
from .settings import Settings

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a running recording."""

    elapsed_s: float  # since it began
    processes: int
    threads: int  # in the current windows, as the counts
    stats: SamplerStats
    recording: Recording  # what was recorded so far; it may be read and cut during the call


def open_sampler(
    pid: int, settings: Settings, cancelled: Callable[[], bool] | None = None
) -> Sampler:
    """Finds the interpreter in `pid`. Raises a `PystackError` if that fails.

    The error is `Cancelled` if `cancelled` returned True.
    """
    sampler: Sampler = pystack.open_sampler(
        pid,
        rate_hz=settings.rate_hz,
        stop=settings.stop,
        exhaustive=settings.exhaustive,
        native=settings.native,
        tasks=settings.tasks,
        raise_priority=settings.raise_priority,
        max_cpu_share=settings.max_cpu_share,
        max_pause_share=settings.max_pause,
        max_memory=settings.max_memory,
        cancelled=cancelled,
    )
    return sampler


class Targets(Protocol):
    """The processes that are recorded; more may be added during the recording."""

    @property
    def recorders(self) -> Sequence[ProcessRecorder]: ...
    @property
    def other_processes(self) -> int:
        """The number of processes that never were Python."""

    @property
    def left_out_processes(self) -> int:
        """The number of processes that were left out because of the limit."""

    @property
    def unseen_processes(self) -> int:
        """The number of processes that ended before it was known whether they are Python."""

    @property
    def dead_children_ns(self) -> int:
        """The CPU time of descendants that have ended, recorded or not; 0 if none are recorded."""

    @property
    def root_error(self) -> PystackError | None:
        """Why the first process is not recorded; None if it is."""

    def have_ended(self) -> bool: ...
    def begin_stretch(self, ended: Collection[ProcessRecorder]) -> None:
        """Counts processes from 0 again, and forgets these recorders."""

    def close(self) -> None:
        """Adds no more processes from now on. Idempotent."""


class OneProcess:
    """The usual case: one process."""

    other_processes = left_out_processes = unseen_processes = dead_children_ns = 0
    root_error: PystackError | None = None

    def __init__(self, recorder: ProcessRecorder) -> None:
        self._recorder = recorder
        self.recorders: Sequence[ProcessRecorder] = (recorder,)

    def have_ended(self) -> bool:
        return self._recorder.has_ended

    def begin_stretch(self, ended: Collection[ProcessRecorder]) -> None:
        self.recorders = [one for one in self.recorders if one not in ended]

    def close(self) -> None:
        pass


class Rotation(Protocol):
    """Divides a recording into stretches of time. Each has tables of its own, so memory does not grow."""

    def is_due(self) -> bool: ...
    def take(self, ended: Recording) -> None:
        """`ended` is a stretch that is over. The recording has begun the next one, without samples."""


class Run:
    """A recording while it is made.

    One thread calls `step` until that returns False, then `end`. Another thread may call `end` as well.
    """

    def __init__(
        self,
        targets: Targets,
        recording: Recording,
        duration_s: float | None = None,
        *,
        pause: Callable[[float], object] = time.sleep,
        log: BatchLog | None = None,
        rotation: Rotation | None = None,
        budget: CpuBudget | None = None,
    ) -> None:
        """`pause` waits for that many seconds, or less. `log` gets each batch."""
        self.recording = recording
        self._targets = targets
        self._duration_s = duration_s
        self._pause = pause
        self._log = log
        self._rotation = rotation
        self._budget = budget
        self._owner = os.getpid()
        self._begin_s = time.monotonic()
        self._cpu_ns = time.process_time_ns()
        self._completed: set[ProcessRecorder] = set()
        self._is_over = False
        self._stepping = threading.RLock()  # for all but the callbacks of who drives it
        self._update()

    def step(self) -> bool:
        """Receives samples for at most `POLL_S` seconds, or a second if the CPU budget is small. False: nothing, because the recording is over."""
        with self._stepping:
            elapsed_s = time.monotonic() - self._begin_s
            if self._is_over or self._targets.have_ended():
                return False
            # The child of a fork in a callback has no samplers.
            if os.getpid() != self._owner:
                return False
            timeout_s = POLL_S
            if self._duration_s is not None:
                if elapsed_s >= self._duration_s:
                    return False
                timeout_s = min(POLL_S, self._duration_s - elapsed_s)
            if self._budget is not None and self._budget.pause_s:
                self._pause(min(self._budget.pause_s, 3 * timeout_s))
            recorders = list(self._targets.recorders)
            self._receive([one for one in recorders if one not in self._completed], timeout_s)
            for ended in recorders:
                if ended.has_ended:
                    self._complete(ended)
            self._update()
            if self._budget is not None:
                self._budget.update(recorders)
            if self._rotation is not None and self._rotation.is_due():
                self._rotate(self._rotation)
            return True

    def progress(self) -> Progress:
        recorders = self._targets.recorders
        stats = no_stats()
        for recorder in recorders:
            add_stats(stats, recorder.profile.stats)
        threads = sum(len(recorder.profile.tracks) for recorder in recorders)
        elapsed_s = time.monotonic() - self._begin_s
        return Progress(elapsed_s, len(recorders), threads, stats, self.recording)

    def end(self) -> None:
        """Ends it with all that was sampled until now. Idempotent."""
        with self._stepping:
            if self._is_over:
                return
            self.close()
            self.recording.ended_ns = time.monotonic_ns()
            for recorder in self._targets.recorders:
                self._complete(recorder)
            self._update()
            self.recording.dead_children_ns = self._targets.dead_children_ns
            _set_end(self.recording, self._targets.have_ended())
            self._is_over = True

    def fail(self, error: BaseException) -> None:
        """Ends it because of an error, unless it is over."""
        with self._stepping:
            if not self._is_over:
                self.end()
                self.recording.end_reason = "failed"
                self.recording.error = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Stops all samplers, at the same moment. Idempotent."""
        self._targets.close()
        for recorder in self._targets.recorders:
            recorder.stop()

    def _receive(self, recorders: Sequence[ProcessRecorder], timeout_s: float) -> None:
        """Waits for the samples of one recorder, or polls several."""
        if len(recorders) == 1:
            recorders[0].receive(timeout_s, self._log)
            return
        self._pause(max(0.0, timeout_s))
        for recorder in recorders:
            recorder.receive(0, self._log)

    def _complete(self, recorder: ProcessRecorder) -> None:
        if recorder not in self._completed:
            self._completed.add(recorder)
            recorder.complete(self._log)

    def _rotate(self, rotation: Rotation) -> None:
        """Begins new tables everywhere. Until all have them, nothing of those that do is received."""
        recorders = list(self._targets.recorders)
        for recorder in recorders:
            recorder.begin_renewal()
        for recorder in recorders:
            while recorder.is_renewing:
                recorder.receive(POLL_S, self._log)
            if recorder.has_ended:
                self._complete(recorder)
        self._update()
        profiles = [(one.take_ended_profile(), one.has_ended) for one in recorders]
        ended = self.recording.close(_shown(profiles))
        ended.dead_children_ns = self._targets.dead_children_ns
        gone = [one for one in recorders if one.has_ended]
        self._targets.begin_stretch(gone)
        self._completed.difference_update(gone)
        self._update()
        rotation.take(ended)

    def _update(self) -> None:
        recording, targets = self.recording, self._targets
        before_ns, self._cpu_ns = self._cpu_ns, time.process_time_ns()
        recording.tool_cpu_ns += self._cpu_ns - before_ns
        recorders = list(targets.recorders)
        recording.profiles = _shown([(one.profile, one.has_ended) for one in recorders])
        for profile in recording.profiles:
            if profile.process.pid == recording.pid:
                recording.command = profile.process.command or recording.command
        recording.unseen_processes = targets.unseen_processes + sum(
            one.has_ended and not one.profile.was_seen and one.profile not in recording.profiles
            for one in recorders
        )
        recording.other_processes = targets.other_processes
        recording.left_out_processes = targets.left_out_processes


def record_targets(
    targets: Targets,
    recording: Recording,
    duration_s: float | None = None,
    *,
    stop_requested: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    pause: Callable[[float], object] = time.sleep,
    log: BatchLog | None = None,
    rotation: Rotation | None = None,
    budget: CpuBudget | None = None,
) -> None:
    """Records until the duration ends, a stop is requested, or the targets end.

    `recording` is up to date whenever `on_progress` is called. All samplers are stopped when this returns
    or raises. A failure does not lose what was recorded before: that of a process is in its profile, and
    that of a callback is raised. Raises the first process's error if no process ran Python.
    """
    run = Run(
        targets, recording, duration_s, pause=pause, log=log, rotation=rotation, budget=budget
    )
    drive(run, stop_requested, on_progress)
    if not recording.profiles and targets.root_error is not None:
        raise targets.root_error


def drive(
    run: Run, stop_requested: Callable[[], bool], on_progress: Callable[[Progress], None]
) -> None:
    """Takes the run to its end, on this thread. What a callback raises ends it, and is raised."""
    try:
        while not stop_requested() and run.step():
            on_progress(run.progress())
        run.end()
    except (Exception, SystemExit) as error:
        run.fail(error)
        raise
    finally:
        run.close()


def new_recording(pid: int, settings: Settings) -> Recording:
    return Recording(
        pid=pid,
        command=command_line(pid),
        tool_version=pystack.__version__,
        rate_hz=settings.rate_hz,
        stops_target=settings.stops_target,
        native=settings.records_native,
        max_cpu_share=settings.max_cpu_share,
        max_pause_share=settings.max_pause,
        subprocesses=settings.subprocesses,
        start_time_ns=time.time_ns(),
        began_ns=time.monotonic_ns(),
    )


def _shown(profiles: Sequence[tuple[Profile, bool]]) -> list[Profile]:
    """Those that have threads in their windows, or, if they have not ended, are likely to get some."""
    shown = [
        profile
        for profile, has_ended in profiles
        if profile.tracks or (profile.was_seen and not has_ended)
    ]
    # One without samples says at least what was tried.
    return shown or [profile for profile, _ in profiles[:1]]


def _set_end(recording: Recording, targets_ended: bool) -> None:
    recording.end_reason = "target_exited" if targets_ended else "stopped"
    if len(recording.profiles) == 1 and not recording.subprocesses:
        process = recording.profiles[0].process
        recording.end_reason, recording.error = process.end_reason, process.error
