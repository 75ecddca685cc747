"""A run of `pystack record`: finds the target, records it, writes the file, and prints a summary."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from pystack.cli.hints import in_options
from pystack.cli.screen import print_status
from pystack.errors import Cancelled, PystackError
from pystack.render.escape import quote_command

from . import driver, exporters
from .child_watch import ChildWatch
from .driver import OneProcess, ProcessRecorder, Targets
from .interruption import Abandoned, Interruption
from .launched_command import Command, open_started
from .output import (
    STDOUT,
    expand,
    is_replaceable,
    only_owner_can_read,
    other_paths,
)
from .profile import Recording
from .progress import LossAdvice, ProgressLine
from .recorder import open_targets
from .settings import Settings
from .sinks import FileSink, Sink
from .summary import account, details, findings
from .view import View

_SOON_S = 0.3  # a command that exits within this time is not reported as running

_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # as in shells, env and time


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


def record_process(
    pid: int, settings: Settings, destination: Destination, interruption: Interruption
) -> int:
    """Returns the exit status."""

    def stop_requested() -> bool:
        return interruption.requested

    try:
        targets = open_targets(pid, settings, stop_requested)
        recording = _record(targets, pid, settings, stop_requested, show_progress=True)
    except Cancelled:
        raise interruption.abandoned() from None
    interruption.begin_last_step()
    return _save(recording, destination)


def record_command(
    arguments: list[str],
    settings: Settings,
    destination: Destination,
    interruption: Interruption,
) -> int:
    """Returns the exit status of the command, even if the recording fails."""
    try:
        command = Command(arguments)
    except OSError as error:
        print_status(f"cannot start {arguments[0]}: {error.strerror}")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_EXECUTE
    interruption.pass_on(command.forward)
    name = quote_command(tuple(arguments))
    try:
        recording = _record_started(command, settings, interruption)
    except PystackError as error:
        _report_error(error)
        print_status(f"nothing was written; waiting for {name} to exit")
    else:
        if recording is None:
            what = f"{name} exited" if command.has_ended() else "recording was interrupted"
            print_status(f"{what} before a Python interpreter was found; nothing was written")
        else:
            interruption.begin_last_step()
            _save(recording, destination)
        if not command.ends_within(_SOON_S):
            print_status(f"waiting for {name} to exit")
    try:
        return command.wait()
    except Abandoned as abandoned:
        return abandoned.exit_status


def _record_started(
    command: Command, settings: Settings, interruption: Interruption
) -> Recording | None:
    """Returns None if the command exited first or the recording was interrupted."""

    def stop_requested() -> bool:
        return interruption.requested or command.has_ended()

    # No progress line, because the command uses the terminal now.
    if settings.subprocesses:
        try:
            targets = open_targets(command.pid, settings, stop_requested)
            recording = _record(targets, command.pid, settings, stop_requested, show_progress=False)
        except PystackError:
            if command.has_ended():
                return None
            raise
    else:
        sampler = open_started(
            command,
            lambda pid: driver.open_sampler(pid, settings, stop_requested),
            lambda: interruption.requested,
        )
        if sampler is None:
            return None
        targets = OneProcess(ProcessRecorder(sampler, command.pid))
        recording = _record(targets, command.pid, settings, stop_requested, show_progress=False)
    if recording.end_reason == "stopped" and command.has_ended():
        recording.end_reason = "target_exited"  # the sampler may notice it later
        for profile in recording.profiles:
            if profile.process.pid == command.pid and profile.process.end_reason == "stopped":
                profile.process.end_reason = "target_exited"
    return recording


def _record(
    targets: Targets,
    pid: int,
    settings: Settings,
    stop_requested: Callable[[], bool],
    *,
    show_progress: bool,
) -> Recording:
    recording = driver.new_recording(pid, settings)
    with ProgressLine(sys.stderr, pid, settings.duration_s, shown=show_progress) as line:
        advice = LossAdvice(line.say)
        children = None if settings.subprocesses else ChildWatch(pid)

        def on_progress(progress: driver.Progress) -> None:
            line.update(progress)
            advice.update(progress)
            if children is not None:
                children.update()

        driver.record_targets(
            targets,
            recording,
            settings.duration_s,
            stop_requested=stop_requested,
            on_progress=on_progress,
        )
        if children is not None:
            recording.python_children = children.count()
    return recording


def _save(recording: Recording, destination: Destination) -> int:
    """Writes the file and prints the summary. Returns the exit status."""
    wanted = expand(destination.pattern, recording.pid)
    owner_only = destination.format.holds_command_line
    path = _write(recording, destination, wanted)
    if path is None:
        return 1
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
    if owner_only and path != STDOUT and only_owner_can_read(path):
        print_status(
            "only its owner can read the file, because it contains the command line;"
            " chmod a+r shares it"
        )
    samples, *more = account(recording)
    print_status(f"{_shown(path)}: {samples}")
    for line in more:
        print_status(f"  {line}")
    return 1 if recording.end_reason == "failed" or path != wanted else 0


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


def _report_error(error: PystackError) -> None:
    print_status(f"{error}.")
    if error.hint:
        print_status(in_options(error.hint))
