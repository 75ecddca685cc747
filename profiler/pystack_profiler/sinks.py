"""Where recordings go: a sink takes one window after another, or a whole recording."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import IO, Protocol

from . import exporters
from .output import check_writable, replacing
from .profile import Recording
from .view import DEFAULT_VIEW, View


class Sink(Protocol):
    """Call `open` once, `write` for each window (see `Recording.cut`), and `close` once."""

    def open(self) -> None:
        """Raises the OSError that writing would raise, if that can be known in advance."""

    def write(self, recording: Recording) -> None:
        """Raises an OSError if it cannot be written; then nothing of it was."""

    def close(self) -> None: ...


class FileSink:
    """A file of one format. It appears complete and at once, and each `write` replaces it."""

    def __init__(
        self,
        path: str,
        format: exporters.Format,
        view: View = DEFAULT_VIEW,
        *,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """`path` can be `-` for stdout, a pipe or a device; `on_wait` is called before waiting for the
        reader of a pipe."""
        self.path = path
        self._format = format
        self._view = view
        self._on_wait = on_wait

    def open(self) -> None:
        check_writable(self.path)

    def write(self, recording: Recording) -> None:
        compressed = self.path.lower().endswith(self._format.gzip_suffixes)
        with replacing(
            self.path,
            binary=self._format.is_binary or compressed,
            # The command line may contain secrets.
            owner_only=self._format.holds_command_line,
            on_wait=self._on_wait,
        ) as stream:
            if compressed:
                self._write_compressed(recording, stream)
            else:
                self._format.export(recording, stream, self._view)

    def close(self) -> None:
        """Every file is complete already."""

    def _write_compressed(self, recording: Recording, stream: IO[bytes]) -> None:
        # No name and no time in the header: the same recording is always the same file.
        with gzip.GzipFile("", "wb", 6, stream, mtime=0) as file:
            if self._format.is_binary:
                self._format.export(recording, file, self._view)
                return
            with io.TextIOWrapper(file, "utf-8", newline="\n") as text:
                self._format.export(recording, text, self._view)
