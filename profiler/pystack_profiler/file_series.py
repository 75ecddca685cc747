"""A file for each stretch of a recording, of which the newest are kept."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pystack.cli.screen import print_status
from pystack.made_files import MadeFile

from .batch import Batch
from .destination import Destination, Output
from .profile import Profile, Recording
from .stats import format_time, losses, plural


@dataclass(frozen=True, slots=True)
class RequestedFiles:
    """What the command line asks for: one file, or a series."""

    destination: Destination
    every_s: float | None = None  # a file for each stretch of this time; None: one file
    max_files: int | None = None

    def output(self, say: Callable[[str], None]) -> Output | FileSeries:
        if self.every_s is None:
            return Output(self.destination, say)
        return FileSeries(self.destination, self.every_s, self.max_files, say=say)


class FileSeries:
    """The output, the log and the rotation of a recording that is divided into stretches of time."""

    #: A file that cannot be written does not end the series.
    has_failed = False

    def __init__(
        self,
        destination: Destination,
        every_s: float,
        max_files: int | None = None,
        *,
        say: Callable[[str], None] = print_status,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`every_s`: how long a stretch is, in seconds. `max_files`: of how many stretches the files are kept;
        None: of all. `say` prints a line while it records."""
        self._destination = destination
        self._every_s = every_s
        self._max_files = max_files
        self._say = say
        self._clock = clock
        self._due_s = 0.0
        self._kept: deque[list[MadeFile]] = deque()
        self._recording: Recording | None = None
        self._output = self._new_output()
        self._stretches = 0  # that are over
        self._status = 0

    @contextmanager
    def growing(self, recording: Recording) -> Iterator[FileSeries]:
        """Begins the first file. An exception removes the last one only."""
        self._recording = recording
        self._due_s = self._clock() + self._every_s
        self._output.begin(recording)
        try:
            yield self
        except BaseException:
            self._output.discard()
            raise

    def append(self, profile: Profile, batch: Batch) -> None:
        if self._output.log is not None:
            self._output.log.append(profile, batch)

    def update(self, recording: Recording) -> None:
        self._output.update(recording)

    def is_due(self) -> bool:
        return self._clock() >= self._due_s

    def take(self, ended: Recording) -> None:
        """Writes the stretch that is over, and begins the file of the next one."""
        assert self._recording is not None
        passed = (self._clock() - self._due_s) // self._every_s + 1
        self._due_s += max(1.0, passed) * self._every_s
        self._finish(ended)
        self._output = self._new_output()
        self._output.begin(self._recording)

    def save(self, recording: Recording) -> int:
        """Writes the last stretch, and prints its summary. Returns the exit status."""
        if self._stretches and not recording.stats["ticks"]:
            self._output.discard()  # The target ended together with the stretch before.
            return self._status
        self._status = self._output.save(recording) or self._status
        self._keep(self._output)
        return self._status

    def save_snapshot(self, recording: Recording) -> None:
        self._output.save_snapshot(recording)

    def _new_output(self) -> Output:
        return Output(self._destination, self._say, is_one_of_many=True)

    def _finish(self, ended: Recording) -> None:
        self._stretches += 1
        status, path = self._output.complete(ended)
        self._status = status or self._status
        if path is None:
            self._say("Warning: this stretch is lost; recording goes on")
        else:
            heading, samples = self._output.heading(path), plural(ended.sample_count, "sample")
            self._say(
                f"{heading} {format_time(ended.duration_ns)}, {samples}, {losses(ended.stats)}"
            )
        self._keep(self._output)

    def _keep(self, output: Output) -> None:
        """Removes the files of the oldest stretches beyond the limit."""
        made = []
        for path in output.written:
            try:
                made.append(MadeFile(path))
            except OSError:
                continue  # Somebody has taken it away already.
        self._kept.append(made)
        if self._max_files is None:
            self._kept.clear()
            return
        while len(self._kept) > self._max_files:
            for file in self._kept.popleft():
                self._remove(file)

    def _remove(self, file: MadeFile) -> None:
        try:
            if not file.remove() and Path(file.path).exists():
                self._say(f"{file.path} is kept: somebody has changed it")
        except OSError as error:
            self._say(f"Warning: cannot remove {file.path}: {error.strerror}")
