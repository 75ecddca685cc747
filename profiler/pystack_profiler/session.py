"""A run of `pystack record`: finds the target, records it, writes the file, and says how it went."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass

import click

from pystack.errors import PystackError
from pystack.render.escape import escape, quote_command

from . import exporters, recording
from .command import Command, open_started
from .interruption import Abandoned, Interruption
from .output import STDOUT, expand, replacing
from .profile import Recording
from .progress import ProgressLine
from .recording import OneProcess, ProcessRecorder, Settings, Targets
from .summary import account, details, findings
from .view import View

_SOON_S = 0.3  # a command that ends by then is not worth a word

_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # as shells, env and time have it


@dataclass(frozen=True, slots=True)
class Destination:
    """The file that is asked for."""

    pattern: str
    format: exporters.Format
    view: View
    verbosity: int


def record_process(
    pid: int, settings: Settings, destination: Destination, interruption: Interruption
) -> int:
    """The exit status."""

    def stop_requested() -> bool:
        return interruption.requested

    if settings.subprocesses:
        made = _record_family(pid, settings, stop_requested, show_progress=True)
    else:
        targets = OneProcess(ProcessRecorder(recording.open_sampler(pid, settings), pid))
        made = _record(targets, pid, settings, stop_requested, show_progress=True)
    return _save(made, destination)


def record_command(
    arguments: list[str],
    settings: Settings,
    destination: Destination,
    interruption: Interruption,
) -> int:
    """Returns the command's own status, whatever becomes of the recording."""
    try:
        command = Command(arguments)
    except OSError as error:
        say(f"cannot start {arguments[0]}: {error.strerror}")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_EXECUTE
    interruption.pass_on(command.forward)
    name = quote_command(tuple(arguments))
    try:
        made = _record_started(command, settings, interruption)
    except PystackError as error:
        _complain(error)
        say(f"no file was written; waiting for {name} to end")
    else:
        if made is None:
            say(f"{name} ended before Python was found in it; no file was written")
        else:
            _save(made, destination)
        if not command.ends_within(_SOON_S):
            say(f"waiting for {name} to end")
    try:
        return command.wait()
    except Abandoned as abandoned:
        return abandoned.exit_status


def say(text: str) -> None:
    click.echo(f"pystack: {text}", err=True)


def _record_started(
    command: Command, settings: Settings, interruption: Interruption
) -> Recording | None:
    """None: it ended first."""

    def stop_requested() -> bool:
        return interruption.requested or command.has_ended()

    # No progress line: the terminal is the command's now.
    if settings.subprocesses:
        try:
            made = _record_family(command.pid, settings, stop_requested, show_progress=False)
        except PystackError:
            if command.has_ended():
                return None
            raise
    else:
        sampler = open_started(
            command,
            lambda pid: recording.open_sampler(pid, settings),
            lambda: interruption.requested,
        )
        if sampler is None:
            return None
        targets = OneProcess(ProcessRecorder(sampler, command.pid))
        made = _record(targets, command.pid, settings, stop_requested, show_progress=False)
    if made.end_reason == "stopped" and command.has_ended():
        made.end_reason = "target_exited"  # we may notice before the sampler does
        for profile in made.profiles:
            if profile.process.pid == command.pid and profile.process.end_reason == "stopped":
                profile.process.end_reason = "target_exited"
    return made


def _record_family(
    pid: int, settings: Settings, stop_requested: Callable[[], bool], *, show_progress: bool
) -> Recording:
    """Raises why there is no Python in the process, if there was none in its children either."""
    from .tree_recording import ProcessFamily  # rarely needed, and slow to import

    family = ProcessFamily(pid, lambda member: recording.open_sampler(member, settings))
    made = _record(family, pid, settings, stop_requested, show_progress=show_progress)
    made.other_processes = family.other_processes
    if not made.profiles and family.root_error is not None:
        raise family.root_error
    return made


def _record(
    targets: Targets,
    pid: int,
    settings: Settings,
    stop_requested: Callable[[], bool],
    *,
    show_progress: bool,
) -> Recording:
    made = recording.new_recording(pid, settings)
    with ProgressLine(sys.stderr, pid, settings.duration_s, shown=show_progress) as progress:
        recording.record_targets(
            targets,
            made,
            settings.duration_s,
            stop_requested=stop_requested,
            on_progress=progress.update,
        )
    return made


def _save(made: Recording, destination: Destination) -> int:
    """Writes the file and says what is in it. The exit code."""
    path = expand(destination.pattern, made.pid)
    shown = "stdout" if path == STDOUT else escape(path)
    try:
        with replacing(path) as stream:
            destination.format.export(made, stream, destination.view)
    except OSError as error:
        say(f"cannot write {shown}: {error.strerror}")
        return 1
    if destination.verbosity:
        for line in details(made):
            say(line)
    for line in findings(made, destination.view):
        say(line)
    if made.end_reason == "failed":
        say(f"the recording ended early: {escape(made.error or 'for an unknown reason')}")
    if path != STDOUT:
        how = destination.format.how_to_open.format(path=escape(shlex.quote(path)))
        say(f"to look at it: {how}")
    say(f"{shown}: {account(made)}")
    return 1 if made.end_reason == "failed" else 0


def _complain(error: PystackError) -> None:
    say(f"{escape(str(error))}.")
    if error.hint:
        say(escape(error.hint))
