"""One sampler, and the profile that its batches fill."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pystack.errors import PystackError

from .batch import Batch
from .profile import EndReason, ProcessFacts, Profile

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
    def renew_tables(self) -> None: ...
    def set_max_cpu_share(self, share: float) -> None: ...
    @property
    def python_version(self) -> str: ...
    @property
    def other_interpreters(self) -> Sequence[str]: ...
    @property
    def end_reason(self) -> EndReason: ...
    @property
    def error(self) -> str | None: ...


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
        self._ended_profile: Profile | None = None  # of the tables before
        self._is_renewing = False
        self._sampling_cpu_ns = 0  # not taken yet
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
            self._sampling_cpu_ns += batch.stats["cpu_ns"]
            if log is not None:
                log.append(self.profile, batch)
            self.has_ended = batch.finished
            if batch.ends_tables:
                self._is_renewing = False
                self._ended_profile, self.profile = self.profile, self.profile.succeed()
            # Before, its command line may have been that of its parent.
            if self.profile.knows_threads and time.monotonic() >= self._read_title_at_s:
                self._read_title()
                self._read_title_at_s = time.monotonic() + _TITLE_EVERY_S
        return batch is not None

    def begin_renewal(self) -> None:
        """Asks for new tables, and a new profile with them: `receive` until `is_renewing` is False."""
        if self._sampler is not None and not self.has_ended:
            self._is_renewing = True
            self._sampler.renew_tables()

    @property
    def is_renewing(self) -> bool:
        return self._is_renewing and not self.has_ended

    def take_ended_profile(self) -> Profile:
        """The profile until the last renewal, once; the current one if there was none, because the sampler
        ended first."""
        profile, self._ended_profile = self._ended_profile or self.profile, None
        return profile

    def take_sampling_cpu_ns(self) -> int:
        """The CPU time of the sampler since the last call, as far as it was received."""
        taken, self._sampling_cpu_ns = self._sampling_cpu_ns, 0
        return taken

    def set_max_cpu_share(self, share: float) -> None:
        """The share of one CPU for the sampler, above 0 and at most 1."""
        if self._sampler is not None:
            self._sampler.set_max_cpu_share(share)

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
