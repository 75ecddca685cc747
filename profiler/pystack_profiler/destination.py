"""The file of a recording: written at its end, or while it runs if its format can grow; and the summary."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pystack.cli.screen import print_status

from . import exporters
from .output import STDOUT, expand, is_replaceable, only_owner_can_read, other_paths
from .profile import Recording
from .sinks import FileSink, Sink
from .summary import account, details, findings
from .view import View

if TYPE_CHECKING:
    from .recording_file import LiveFile


@dataclass(frozen=True, slots=True)
class Destination:
    """The requested file."""

    pattern: str
    format: exporters.Format
    view: View
    verbosity: int

    def sink(self, path: str) -> Sink:
        def report_wait() -> None:
            print_status(f"waiting for a reader of {_shown(path)}")

        return FileSink(path, self.format, self.view, on_wait=report_wait)


class Output:
    """What becomes of one recording."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._live: LiveFile | None = None
        #: The file cannot grow any more; going on would be for nothing.
        self.has_failed = False

    @contextmanager
    def growing(self, recording: Recording) -> Iterator[LiveFile | None]:
        """Begins to write a file that can grow. An exception removes it: nothing was recorded, or the
        user wants no file."""
        path = expand(self._destination.pattern, recording.pid)
        if self._destination.format is exporters.PYSTACK and is_replaceable(path):
            from .recording_file import LiveFile  # needs SQLite, as no other format does

            try:
                self._live = LiveFile(path, recording)
            except OSError as error:
                print_status(
                    f"Warning: cannot write {_shown(path)} while recording: {error.strerror}; trying again"
                    " at the end"
                )
        if self._live is not None and self._live.growing_path != self._live.path:
            print_status(
                f"until the end, the file is {self._live.growing_path}, because other users can write to the"
                f" folder of {path}"
            )
        try:
            yield self._live
        except BaseException:
            if self._live is not None:
                self._live.discard()
            raise

    def update(self, recording: Recording) -> None:
        """Lets the file grow. A failure is told at once."""
        if self._live is None or self.has_failed:
            return
        try:
            self._live.update(recording)
        except OSError as error:
            self._report_loss(self._live, error)

    def save(self, recording: Recording) -> int:
        """Completes the file and prints the summary. Returns the exit status."""
        destination = self._destination
        wanted = expand(destination.pattern, recording.pid)
        path: str | None
        if self._live is not None:
            wanted = self._live.path
            path = self._complete(self._live, recording)
        else:
            path = _write(recording, destination, wanted)
        if path is None:
            return 1
        _print_summary(recording, destination, path, lacks_end=self.has_failed)
        failed = self.has_failed or recording.end_reason == "failed"
        return 1 if failed or path != wanted else 0

    def _complete(self, live: LiveFile, recording: Recording) -> str:
        if self.has_failed:
            live.abandon()
        else:
            try:
                live.close(recording)
            except OSError as error:
                self._report_loss(live, error)
        return live.growing_path

    def _report_loss(self, live: LiveFile, error: OSError) -> None:
        self.has_failed = True
        print_status(
            f"cannot write {live.growing_path}: {error.strerror}; what was recorded before is in the"
            " file, and recording ends"
        )


def _print_summary(
    recording: Recording, destination: Destination, path: str, *, lacks_end: bool
) -> None:
    if destination.verbosity:
        for line in details(recording):
            print_status(line)
    for line in findings(recording, destination.view):
        print_status(line)
    if recording.end_reason == "failed":
        print_status(f"Warning: the recording ended early: {recording.error or 'unknown reason'}")
    if path != STDOUT:
        how = destination.format.how_to_open.format(path=shlex.quote(path))
        print_status(f"to view the file: {how}")
    if destination.format.holds_command_line and path != STDOUT and only_owner_can_read(path):
        print_status(
            "only its owner can read the file, because it contains the command line;"
            " chmod a+r shares it"
        )
    samples, *more = account(recording)
    print_status(f"{_shown(path)}{' (lacks the last of these)' if lacks_end else ''}: {samples}")
    for line in more:
        print_status(f"  {line}")


def _write(recording: Recording, destination: Destination, wanted: str) -> str | None:
    """Returns the path that was written: `wanted` if possible. None: nothing was written."""
    if _try_to_write(recording, destination, wanted):
        return wanted
    # Another user can take the name while the recording runs, or remove the folder.
    others = other_paths(wanted) if is_replaceable(wanted) else ()
    return next((path for path in others if _try_to_write(recording, destination, path)), None)


def _try_to_write(recording: Recording, destination: Destination, path: str) -> bool:
    sink = destination.sink(path)
    try:
        sink.open()
        with closing(sink):
            sink.write(recording)
    except OSError as error:
        print_status(f"cannot write {_shown(path)}: {error.strerror}")
        return False
    return True


def _shown(path: str) -> str:
    return "stdout" if path == STDOUT else path
