"""Drives a sampler: its batches into a profile, until told to stop or the target ends.

No command line, no signals, no files in here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pystack
from pystack.errors import PystackError

from .profile import Batch, EndReason, Metadata, Profile, SamplerStats

#: How soon a stop request is noticed, and how often progress is told.
POLL_S = 0.1

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


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running recording stands."""

    elapsed_s: float
    threads: int
    stats: SamplerStats


def open_sampler(pid: int, settings: Settings) -> Sampler:
    """Finds the interpreter in `pid`. Raises a `PystackError` that says why it cannot."""
    sampler: Sampler = pystack.open_sampler(
        pid,
        rate_hz=settings.rate_hz,
        stop=settings.stops_target,
        exhaustive=settings.exhaustive,
    )
    return sampler


def record_samples(
    sampler: Sampler,
    pid: int,
    settings: Settings,
    *,
    stop_requested: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Profile:
    """Records with an opened sampler, which is stopped when this returns, whichever way.

    A failure on the way does not lose what was recorded before: it is in the profile's metadata.
    """
    metadata = Metadata(
        pid=pid,
        command=_command_line(pid),
        python_version=sampler.python_version,
        tool_version=pystack.__version__,
        rate_hz=settings.rate_hz,
        stops_target=settings.stops_target,
        start_time_ns=time.time_ns(),
        start_ns=time.monotonic_ns(),
    )
    profile = Profile(metadata)
    cpu_before_ns = time.process_time_ns()
    sampler.start()
    try:
        _receive(sampler, profile, settings.duration_s, stop_requested, on_progress)
        sampler.stop()
        metadata.end_ns = time.monotonic_ns()
        _drain(sampler, profile)
        metadata.end_reason, metadata.error = sampler.end_reason, sampler.error
    except PystackError as error:
        metadata.end_reason, metadata.error = "failed", str(error)
    finally:
        sampler.stop()
    metadata.end_ns = metadata.end_ns or time.monotonic_ns()
    metadata.tool_cpu_ns = time.process_time_ns() - cpu_before_ns
    profile.stats = sampler.stats()
    return profile


def record(
    pid: int,
    *,
    duration_s: float | None = None,
    rate_hz: float = 100.0,
    stop: bool = False,
    exhaustive: bool = False,
) -> Profile:
    """Samples the Python process `pid` for `duration_s` seconds, or until it ends.

    `stop` stops the target for each sample; without it the target is never stopped.
    """
    settings = Settings(rate_hz, duration_s, stop, exhaustive)
    return record_samples(open_sampler(pid, settings), pid, settings)


def _receive(
    sampler: Sampler,
    profile: Profile,
    duration_s: float | None,
    stop_requested: Callable[[], bool],
    on_progress: Callable[[Progress], None],
) -> None:
    begin_s = time.monotonic()
    while not stop_requested():
        elapsed_s = time.monotonic() - begin_s
        if duration_s is not None and elapsed_s >= duration_s:
            return
        timeout_s = POLL_S if duration_s is None else min(POLL_S, duration_s - elapsed_s)
        batch = sampler.next_batch(timeout_s)
        if batch is not None:
            profile.append(batch)
            if batch.finished:
                return
        on_progress(Progress(time.monotonic() - begin_s, len(profile.tracks), sampler.stats()))


def _drain(sampler: Sampler, profile: Profile) -> None:
    """Takes what the sampler held when it was stopped, up to the batch that says it is the last."""
    deadline_s = time.monotonic() + _DRAIN_S
    while time.monotonic() < deadline_s:
        batch = sampler.next_batch(POLL_S)
        if batch is None:
            return
        profile.append(batch)
        if batch.finished:
            return


def _command_line(pid: int) -> tuple[str, ...]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(raw.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")) if raw else ()
