"""Drives samplers: collects their batches in profiles until a stop is requested or the targets end.

This module knows no command line, no signals and no files.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pystack
from pystack.errors import PystackError

from .batch import Batch
from .counts import add_stats, no_stats
from .profile import EndReason, ProcessFacts, Profile, Recording
from .settings import Settings

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats

#: How often stop requests are checked and progress is reported.
POLL_S = 0.25

#: How often a process may change its title, which is read again.
_TITLE_EVERY_S = 1.0

#: How long a stopped sampler may take to deliver its last batches.
_DRAIN_S = 5.0


class Sampler(Protocol):
    """The part of `pystack`'s sampler that is used here."""

    def start(self) -> None: ...
    def next_batch(self, timeout_s: float) -> Batch | None: ...
    def stop(self) -> None: ...
    @property
    def python_version(self) -> str: ...
    @property
    def other_interpreters(self) -> Sequence[str]: ...
    @property
    def end_reason(self) -> EndReason: ...
    @property
    def error(self) -> str | None: ...


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
        raise_priority=settings.raise_priority,
        max_cpu_share=settings.max_cpu_share,
        max_pause_share=settings.max_pause,
        max_memory=settings.max_memory,
        cancelled=cancelled,
    )
    return sampler


class BatchLog(Protocol):
    """Whoever wants each batch as it came, besides the profiles."""

    def append(self, profile: Profile, batch: Batch) -> None: ...


class ProcessRecorder:
    """A sampler and the profile that it fills."""

    def __init__(self, sampler: Sampler, pid: int, *, only_own_threads: bool = False) -> None:
        """Starts sampling.

        `only_own_threads` leaves out threads that do not belong to the process. A new process has the
        memory of its parent at first, and shows the parent's threads.
        """
        self._sampler: Sampler | None = sampler
        self._stopping = threading.Lock()
        self._program: str | None = None  # which the command line belongs to
        self._read_title_at_s = 0.0
        self.has_ended = False  # no more samples will arrive
        self.profile = Profile(
            ProcessFacts(
                pid=pid,
                command=command_line(pid),
                python_version=sampler.python_version,
                start_ns=time.monotonic_ns(),
            ),
            only_own_threads=only_own_threads,
        )
        sampler.start()

    @property
    def is_shown(self) -> bool:
        """Whether the current window has threads, or is likely to get some."""
        return bool(self.profile.tracks) or (self.profile.was_seen and not self.has_ended)

    def receive(self, timeout_s: float, log: BatchLog | None = None) -> bool:
        """Waits for samples; returns whether there were any. A failure ends the recorder, and is stored
        in the profile."""
        if self._sampler is None:
            return False
        try:
            batch = self._sampler.next_batch(timeout_s)
        except PystackError as error:
            self.profile.process.end_reason = "failed"
            self.profile.process.error = str(error)
            self.has_ended = True
            return False
        if batch is not None:
            self.profile.append(batch)
            if log is not None:
                log.append(self.profile, batch)
            self.has_ended = batch.finished
            # Before, its command line may have been that of its parent.
            if self.profile.knows_threads and time.monotonic() >= self._read_title_at_s:
                self._read_title()
                self._read_title_at_s = time.monotonic() + _TITLE_EVERY_S
        return batch is not None

    def stop(self) -> None:
        """Stops sampling and waits until it has stopped. The last samples can still be received.

        Any thread may call this.
        """
        with self._stopping:
            if self._sampler is not None:
                self._sampler.stop()
                if self._program is not None:
                    self._read_title()
            self.profile.process.end_ns = self.profile.process.end_ns or time.monotonic_ns()

    def _read_title(self) -> None:
        """Reads the command line again, which the process can replace by a title."""
        process = self.profile.process
        try:
            program = program_of(process.pid)
        except OSError:
            return
        if self._program is None or program == self._program:  # else it executed another program
            process.command = command_line(process.pid) or process.command
            self._program = program

    def complete(self, log: BatchLog | None = None) -> None:
        """Receives the last samples of the stopped sampler, and closes the profile."""
        sampler = self._sampler
        if sampler is None:
            return
        self.stop()
        deadline_s = time.monotonic() + _DRAIN_S
        while not self.has_ended and time.monotonic() < deadline_s:
            if not self.receive(POLL_S, log):
                break
        process = self.profile.process
        process.other_interpreters = tuple(sampler.other_interpreters)
        if process.end_reason == "running":
            process.end_reason, process.error = sampler.end_reason, sampler.error
        self.profile.finish()
        self.has_ended = True
        with self._stopping:
            self._sampler = None  # Frees its tables, because there may be many child processes.


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
    def close(self) -> None:
        """Adds no more processes from now on. Idempotent."""


class OneProcess:
    """The usual case: one process."""

    other_processes = left_out_processes = unseen_processes = dead_children_ns = 0
    root_error: PystackError | None = None

    def __init__(self, recorder: ProcessRecorder) -> None:
        self.recorders = (recorder,)

    def have_ended(self) -> bool:
        return self.recorders[0].has_ended

    def close(self) -> None:
        pass


def record_targets(
    targets: Targets,
    recording: Recording,
    duration_s: float | None = None,
    *,
    stop_requested: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    pause: Callable[[float], object] = time.sleep,
    log: BatchLog | None = None,
) -> None:
    """Records until the duration ends, a stop is requested, or the targets end.

    `recording` is up to date whenever `on_progress` is called. `pause` waits for that many seconds, or
    less. `log` gets each batch, on this thread. All samplers are stopped when this returns or raises. A failure does not lose what was
    recorded before: that of a process is in its profile, and that of a callback is raised. Raises the
    first process's error if no process ran Python.
    """
    cpu_ns = time.process_time_ns()
    completed: set[ProcessRecorder] = set()

    def update() -> None:
        nonlocal cpu_ns
        before_ns, cpu_ns = cpu_ns, time.process_time_ns()
        recording.tool_cpu_ns += cpu_ns - before_ns
        _update(recording, targets)

    def end() -> None:
        targets.close()
        # Stop all before completing any, so that they end at the same moment.
        for recorder in targets.recorders:
            recorder.stop()
        recording.ended_ns = time.monotonic_ns()
        for recorder in targets.recorders:
            if recorder not in completed:
                recorder.complete(log)
        update()
        recording.dead_children_ns = targets.dead_children_ns

    try:
        begin_s = time.monotonic()
        owner = os.getpid()
        update()
        while not (stop_requested() or targets.have_ended()):
            if os.getpid() != owner:
                break  # The child of a fork in a callback has no samplers.
            elapsed_s = time.monotonic() - begin_s
            if duration_s is not None and elapsed_s >= duration_s:
                break
            timeout_s = POLL_S if duration_s is None else min(POLL_S, duration_s - elapsed_s)
            recorders = list(targets.recorders)
            _receive([one for one in recorders if one not in completed], timeout_s, pause, log)
            for ended in [one for one in recorders if one.has_ended and one not in completed]:
                completed.add(ended)
                ended.complete(log)
            update()
            on_progress(_progress(time.monotonic() - begin_s, targets, recording))
        end()
    except (Exception, SystemExit) as error:
        end()
        recording.end_reason, recording.error = "failed", f"{type(error).__name__}: {error}"
        raise
    finally:
        targets.close()
        for recorder in targets.recorders:
            recorder.stop()
    _set_end(recording, targets.have_ended())
    if not recording.profiles and targets.root_error is not None:
        raise targets.root_error


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


def command_line(pid: int) -> tuple[str, ...]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(raw.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")) if raw else ()


def program_of(pid: int) -> str | None:
    """The program of a process; None without permission. Raises OSError if the process has ended."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")  # noqa: PTH115 (often)
    except PermissionError:
        return None


def _receive(
    recorders: Sequence[ProcessRecorder],
    timeout_s: float,
    pause: Callable[[float], object],
    log: BatchLog | None,
) -> None:
    """Waits for the samples of one recorder, or polls several."""
    if len(recorders) == 1:
        recorders[0].receive(timeout_s, log)
        return
    pause(max(0.0, timeout_s))
    for recorder in recorders:
        recorder.receive(0, log)


def _update(recording: Recording, targets: Targets) -> None:
    recorders = list(targets.recorders)
    # One without samples says at least what was tried.
    recording.profiles = [one.profile for one in recorders if one.is_shown] or [
        one.profile for one in recorders[:1]
    ]
    for profile in recording.profiles:
        if profile.process.pid == recording.pid:
            recording.command = profile.process.command or recording.command
    recording.unseen_processes = targets.unseen_processes + sum(
        one.has_ended and not one.profile.was_seen and one.profile not in recording.profiles
        for one in recorders
    )
    recording.other_processes = targets.other_processes
    recording.left_out_processes = targets.left_out_processes


def _progress(elapsed_s: float, targets: Targets, recording: Recording) -> Progress:
    stats = no_stats()
    for recorder in targets.recorders:
        add_stats(stats, recorder.profile.stats)
    threads = sum(len(recorder.profile.tracks) for recorder in targets.recorders)
    return Progress(elapsed_s, len(targets.recorders), threads, stats, recording)


def _set_end(recording: Recording, targets_ended: bool) -> None:
    recording.end_reason = "target_exited" if targets_ended else "stopped"
    if len(recording.profiles) == 1 and not recording.subprocesses:
        process = recording.profiles[0].process
        recording.end_reason, recording.error = process.end_reason, process.error
