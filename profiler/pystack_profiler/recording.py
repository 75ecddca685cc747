"""Drives samplers: their batches into profiles, until told to stop or the targets end.

No command line, no signals, no files in here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pystack
from pystack.errors import PystackError

from .profile import (
    Batch,
    EndReason,
    ProcessFacts,
    Profile,
    Recording,
    SamplerStats,
    add_stats,
    no_stats,
)

#: How soon a stop request is noticed, and how often progress is told.
POLL_S = 0.25

#: After its stop, a sampler has this long to hand over what it still holds.
_DRAIN_S = 5.0


class Sampler(Protocol):
    """What is needed of `pystack`'s sampler."""

    def start(self) -> None: ...
    def next_batch(self, timeout_s: float) -> Batch | None: ...
    def stop(self) -> None: ...
    def stats(self) -> SamplerStats: ...
    @property
    def python_version(self) -> str: ...
    @property
    def end_reason(self) -> EndReason: ...
    @property
    def error(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How to sample."""

    rate_hz: float = 100.0
    duration_s: float | None = None  # None: until stopped, or the target's end
    stops_target: bool = False
    exhaustive: bool = False
    subprocesses: bool = False
    native: pystack.Native | None = None  # implies that the target is stopped

    @property
    def stops(self) -> bool:
        """Whether the target is stopped for each sample."""
        return self.stops_target or self.native is not None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running recording stands."""

    elapsed_s: float
    processes: int
    threads: int
    stats: SamplerStats


def open_sampler(pid: int, settings: Settings) -> Sampler:
    """Finds the interpreter in `pid`. Raises a `PystackError` that says why it cannot."""
    sampler: Sampler = pystack.open_sampler(
        pid,
        rate_hz=settings.rate_hz,
        stop=settings.stops,
        exhaustive=settings.exhaustive,
        native=settings.native,
    )
    return sampler


class ProcessRecorder:
    """A sampler and the profile that it fills."""

    def __init__(self, sampler: Sampler, pid: int, *, only_own_threads: bool = False) -> None:
        """Begins to sample.

        `only_own_threads`: what was seen of threads that the process does not have is left out. A
        process is started in the memory of its parent, and shows the parent's threads until then.
        """
        self._only_own_threads = only_own_threads
        self._sampler: Sampler | None = sampler
        self._is_named = False
        self.has_ended = False  # nothing more will come
        self.profile = Profile(
            ProcessFacts(
                pid=pid,
                command=command_line(pid),
                python_version=sampler.python_version,
                start_ns=time.monotonic_ns(),
            )
        )
        sampler.start()

    def receive(self, timeout_s: float) -> bool:
        """Waits for samples; whether some came. A failure ends it, and is noted in the profile."""
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
            self.has_ended = batch.finished
            if not self._is_named and self.profile.knows_threads:
                # Until now its command line may have been that of its parent.
                self.profile.process.command = (
                    command_line(self.profile.process.pid) or self.profile.process.command
                )
                self._is_named = True
        return batch is not None

    def stats(self) -> SamplerStats:
        return self.profile.stats or (self._sampler.stats() if self._sampler else no_stats())

    def stop(self) -> None:
        """Ends the sampling; returns when it has. What was sampled is still there to be received."""
        if self._sampler is not None:
            self._sampler.stop()
        self.profile.process.end_ns = self.profile.process.end_ns or time.monotonic_ns()

    def complete(self) -> None:
        """Takes what the stopped sampler still holds, and closes the profile."""
        sampler = self._sampler
        if sampler is None:
            return
        self.stop()
        deadline_s = time.monotonic() + _DRAIN_S
        while not self.has_ended and time.monotonic() < deadline_s:
            if not self.receive(POLL_S):
                break
        process = self.profile.process
        if process.end_reason == "running":
            process.end_reason, process.error = sampler.end_reason, sampler.error
        self.profile.stats = sampler.stats()
        if self._only_own_threads:
            self.profile.drop_foreign_threads()
        self.profile.finish()
        self._sampler = None  # It has tables of its own, and there may be many children.


class Targets(Protocol):
    """The processes that are being recorded; more may come while it goes on."""

    @property
    def recorders(self) -> Sequence[ProcessRecorder]: ...
    def have_ended(self) -> bool: ...
    def close(self) -> None:
        """No more come. Idempotent."""


class OneProcess:
    """The usual case: the one that was asked for."""

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
) -> None:
    """Records until the duration ends, a stop is requested, or the targets end.

    All samplers are stopped when this returns, whichever way. A failure on the way does not lose
    what was recorded before: it is in the profile.
    """
    cpu_before_ns = time.process_time_ns()
    completed: set[ProcessRecorder] = set()
    try:
        begin_s = time.monotonic()
        while not (stop_requested() or targets.have_ended()):
            elapsed_s = time.monotonic() - begin_s
            if duration_s is not None and elapsed_s >= duration_s:
                break
            timeout_s = POLL_S if duration_s is None else min(POLL_S, duration_s - elapsed_s)
            recorders = list(targets.recorders)
            _receive([one for one in recorders if one not in completed], timeout_s)
            for ended in [one for one in recorders if one.has_ended and one not in completed]:
                completed.add(ended)
                ended.complete()
            on_progress(_progress(time.monotonic() - begin_s, recorders))
        targets.close()
        # All at once, so that they end at the same moment.
        for recorder in targets.recorders:
            recorder.stop()
        recording.ended_ns = time.monotonic_ns()
        for recorder in targets.recorders:
            if recorder not in completed:
                recorder.complete()
    finally:
        targets.close()
        for recorder in targets.recorders:
            recorder.stop()
    recording.tool_cpu_ns = time.process_time_ns() - cpu_before_ns
    profiles = [recorder.profile for recorder in targets.recorders]
    seen = [profile for profile in profiles if profile.tracks]
    recording.profiles = seen or profiles[:1]
    recording.unseen_processes = len(profiles) - len(recording.profiles)
    _set_end(recording, targets.have_ended())


def new_recording(pid: int, settings: Settings) -> Recording:
    return Recording(
        pid=pid,
        command=command_line(pid),
        tool_version=pystack.__version__,
        rate_hz=settings.rate_hz,
        stops_target=settings.stops,
        native=settings.native is not None,
        subprocesses=settings.subprocesses,
        start_time_ns=time.time_ns(),
        began_ns=time.monotonic_ns(),
    )


def record(
    pid: int,
    *,
    duration_s: float | None = None,
    rate_hz: float = 100.0,
    stop: bool = False,
    exhaustive: bool = False,
) -> Recording:
    """Samples the Python process `pid` for `duration_s` seconds, or until it ends.

    `stop` stops the target for each sample; without it the target is never stopped.
    """
    settings = Settings(rate_hz, duration_s, stop, exhaustive)
    sampler = open_sampler(pid, settings)
    recording = new_recording(pid, settings)
    record_targets(OneProcess(ProcessRecorder(sampler, pid)), recording, duration_s)
    return recording


def command_line(pid: int) -> tuple[str, ...]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(raw.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")) if raw else ()


def _receive(recorders: Sequence[ProcessRecorder], timeout_s: float) -> None:
    """Waits for the samples of one, or looks after many once in a while."""
    if len(recorders) == 1:
        recorders[0].receive(timeout_s)
        return
    time.sleep(max(0.0, timeout_s))
    for recorder in recorders:
        recorder.receive(0)


def _progress(elapsed_s: float, recorders: Sequence[ProcessRecorder]) -> Progress:
    stats = no_stats()
    for recorder in recorders:
        add_stats(stats, recorder.stats())
    threads = sum(len(recorder.profile.tracks) for recorder in recorders)
    return Progress(elapsed_s, len(recorders), threads, stats)


def _set_end(recording: Recording, targets_ended: bool) -> None:
    recording.end_reason = "target_exited" if targets_ended else "stopped"
    if len(recording.profiles) == 1 and not recording.subprocesses:
        process = recording.profiles[0].process
        recording.end_reason, recording.error = process.end_reason, process.error
