"""The file of a recording: written at its end, or while it runs if its format can grow; and the summary."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pystack.cli.screen import print_status
from pystack.render.escape import escape

from . import exporters
from .interruption import Abandoned
from .output import STDOUT, expand, is_replaceable, only_owner_can_read, other_paths
from .profile import Recording
from .sinks import FileSink, Sink
from .summary import account, details, findings
from .view import View

if TYPE_CHECKING:
    from .push import PushTarget
    from .recording_file import LiveFile


@dataclass(frozen=True, slots=True)
class Destination:
    """The requested file."""

    pattern: str
    format: exporters.Format
    view: View
    verbosity: int
    keep: str | None = None  # the pattern of a recording file to write beside it
    push: PushTarget | None = None  # a server that gets the recording as well

    @property
    def suffix(self) -> str:
        """Of the pattern, if it is one of the format's; else ""."""
        return _suffix_of(self.pattern, self.format)

    def sink(self, path: str) -> Sink:
        def report_wait() -> None:
            print_status(f"waiting for a reader of {_shown(path)}")

        return FileSink(path, self.format, self.view, on_wait=report_wait)

    def recording_file(self) -> Destination | None:
        """The file that can grow while recording, if one is wanted: this one, or the one beside it."""
        if self.format is exporters.PYSTACK:
            return self
        if self.keep is None:
            return None
        return replace(self, pattern=self.keep, format=exporters.PYSTACK, keep=None, push=None)


def kept_beside(pattern: str, format: exporters.Format, default: str) -> str:
    """The pattern of the recording file beside a file: with another suffix. `default`: for stdout, pipes
    and devices."""
    if not is_replaceable(pattern):
        return default + exporters.PYSTACK.suffixes[0]
    return pattern.removesuffix(_suffix_of(pattern, format)) + exporters.PYSTACK.suffixes[0]


def _suffix_of(pattern: str, format: exporters.Format) -> str:
    return max((one for one in format.suffixes if pattern.endswith(one)), key=len, default="")


class Output:
    """What becomes of one recording."""

    def __init__(
        self,
        destination: Destination,
        say: Callable[[str], None] = print_status,
        *,
        is_one_of_many: bool = False,
    ) -> None:
        """`say` prints a line while it records. `is_one_of_many`: the recording goes on in another file."""
        self._destination = destination
        self._say = say
        self._is_one_of_many = is_one_of_many
        #: The paths that were written.
        self.written: list[str] = []
        self._recording_file = destination.recording_file()
        self._live: LiveFile | None = None
        self._paths: dict[Destination, str] = {}  # those that are wanted
        self._lacks_end = False  # the growing file could not grow any more

    @property
    def has_failed(self) -> bool:
        """Whether going on would be for nothing."""
        return self._is_cut and not self._is_one_of_many

    @property
    def _is_cut(self) -> bool:
        return self._lacks_end and self._destination.format is exporters.PYSTACK

    def heading(self, path: str) -> str:
        """What precedes the counts of what was recorded for the file."""
        return f"{_shown(path)}{' (lacks the last of these)' if self._is_cut else ''}:"

    @property
    def log(self) -> LiveFile | None:
        """The file that grows, once it was begun."""
        return self._live

    @contextmanager
    def growing(self, recording: Recording) -> Iterator[LiveFile | None]:
        """Begins to write a file that can grow. An exception removes it: nothing was recorded, or the
        user wants no file."""
        self.begin(recording)
        try:
            yield self._live
        except BaseException:
            self.discard()
            raise

    def begin(self, recording: Recording) -> None:
        # All at once: names with the time would differ later.
        for file in filter(None, (self._destination, self._recording_file)):
            self._paths[file] = expand(file.pattern, recording.pid, recording.start_time_ns)
        if self._recording_file is not None:
            self._begin(self._paths[self._recording_file], recording)

    def discard(self) -> None:
        if self._live is not None:
            self._live.discard()

    def update(self, recording: Recording) -> None:
        """Lets the file grow. A failure is told at once."""
        if self._live is None or self._lacks_end:
            return
        try:
            self._live.update(recording)
        except OSError as error:
            self._report_loss(self._live, error)

    def save(self, recording: Recording) -> int:
        """Completes the files and prints the summary. Returns the exit status."""
        status, path = self.complete(recording)
        if path is not None:
            _print_summary(recording, self._destination, path, self.heading(path))
        return 1 if recording.end_reason == "failed" else status

    def complete(self, recording: Recording) -> tuple[int, str | None]:
        """Completes the files. Returns the exit status, and the path of the file; None: it was not written."""
        destination, beside = self._destination, self._recording_file
        status = 0
        if beside is not None and beside is not destination:
            wanted, path = self._save_file(recording, beside)
            status = 0 if path == wanted and not self._lacks_end else 1
            if path is not None:
                self._say(f"the recording is kept: {path} ({_how_to_open(beside, path)})")
        wanted, path = self._save_file(recording, destination)
        if destination.push is not None:
            status = push(destination.push, recording, destination.view) or status
        if self._is_cut or path != wanted:
            status = 1
        return status, path

    def save_snapshot(self, recording: Recording) -> None:
        """Writes what was recorded until now to a file of its own, and says where."""
        destination = replace(self._destination, push=None, keep=None)
        suffix = destination.suffix
        stem = self._paths[self._destination].removesuffix(suffix)
        if not is_replaceable(destination.pattern):
            stem, suffix = f"pystack-{recording.pid}", destination.format.suffixes[0]
        wanted = expand(stem.replace("%", "%%") + "-snapshot-%t", recording.pid) + suffix
        path = _write(recording.snapshot(), destination, wanted)
        if path is not None:
            self._say(f"snapshot: {path} ({_how_to_open(destination, path)}); recording goes on")

    def _begin(self, path: str, recording: Recording) -> None:
        if not is_replaceable(path):
            return
        from .recording_file import LiveFile  # needs SQLite, as no other format does

        try:
            self._live = LiveFile(path, recording)
        except OSError as error:
            self._say(
                f"Warning: cannot write {_shown(path)} while recording: {error.strerror}; trying again"
                " at the end"
            )
            return
        if self._live.growing_path != self._live.path:
            self._say(
                f"until the end, the file is {self._live.growing_path}, because other users can write to the"
                f" folder of {path}"
            )

    def _save_file(self, recording: Recording, file: Destination) -> tuple[str, str | None]:
        """Returns the path that was wanted, and the one that was written; None: nothing was."""
        wanted: str
        path: str | None
        if self._live is not None and file is self._recording_file:
            wanted, path = self._live.path, self._complete(self._live, recording)
        else:
            wanted = self._paths[file]
            path = _write(recording, file, wanted)
        if path is not None:
            self.written.append(path)
        return wanted, path

    def _complete(self, live: LiveFile, recording: Recording) -> str:
        if self._lacks_end:
            live.abandon()
        else:
            try:
                live.close(recording)
            except OSError as error:
                self._report_loss(live, error)
        return live.growing_path

    def _report_loss(self, live: LiveFile, error: OSError) -> None:
        self._lacks_end = True
        goes_on = "ends" if self.has_failed else "goes on without it"
        if self._is_one_of_many:
            goes_on = "goes on in the next file"
        self._say(
            f"cannot write {live.growing_path}: {error.strerror}; what was recorded before is in the"
            f" file, and recording {goes_on}"
        )


def push(target: PushTarget, recording: Recording, view: View) -> int:
    """Returns the exit status."""
    from .push import PushError

    try:
        target.push(recording, view)
    except PushError as error:
        print_status(f"cannot push to {escape(target.url)}: {error}")
        return 1
    except Abandoned as abandoned:
        print_status(f"aborted while pushing to {escape(target.url)}")
        return abandoned.exit_status
    print_status(f"pushed to {escape(target.url)}")
    return 0


def _print_summary(recording: Recording, destination: Destination, path: str, heading: str) -> None:
    if destination.verbosity:
        for line in details(recording):
            print_status(line)
    for line in findings(recording, destination.view):
        print_status(line)
    if recording.end_reason == "failed":
        print_status(f"Warning: the recording ended early: {recording.error or 'unknown reason'}")
    if path != STDOUT:
        print_status(f"to view the file: {_how_to_open(destination, path)}")
    if destination.format.holds_command_line and path != STDOUT and only_owner_can_read(path):
        print_status(
            "only its owner can read the file, because it contains the command line;"
            " chmod a+r shares it"
        )
    samples, *more = account(recording)
    print_status(f"{heading} {samples}")
    for line in more:
        print_status(f"  {line}")


def _how_to_open(destination: Destination, path: str) -> str:
    return destination.format.how_to_open.format(path=shlex.quote(path))


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
