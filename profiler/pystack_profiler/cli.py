"""`pystack record`: what the user asks for, and what the user is told."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass

import click

from pystack.cli.options import HELP_FLAGS, common_options, settings_of
from pystack.errors import PystackError
from pystack.render.escape import escape, quote_command

from . import exporters, quantities, recording
from .command import Command, open_started
from .grouping import Granularity
from .interruption import Abandoned, Interruption
from .output import STDOUT, check_writable, expand, replacing
from .profile import Profile
from .progress import ProgressLine
from .stats import details, summary

_DEFAULT_OUTPUT = "pystack-%p-%t.json"
_FORMAT_NAMES = ", ".join(known.name for known in exporters.FORMATS)
_COMMAND = "pystack_profiler.command"  # key of click's context: what stood after `--`

_SOON_S = 0.3  # a command that ends by then is not worth a word

_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # as shells, env and time have it


class _RecordCommand(click.Command):
    """Keeps what follows `--` apart; click would mix it with the PID."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_COMMAND] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, _: click.Context) -> list[str]:
        return ["[OPTIONS]", "{PID | -- COMMAND...}"]


@dataclass(frozen=True, slots=True)
class _Destination:
    """The file that is asked for."""

    pattern: str
    format: exporters.Format
    granularity: Granularity
    verbosity: int


@click.command("record", cls=_RecordCommand, context_settings=HELP_FLAGS)
@click.argument("pid", type=quantities.pid, required=False)
@click.option(
    "-p", "--pid", "pid_option", type=quantities.pid, metavar="PID", help="The process to record."
)
@click.option(
    "-o",
    "--output",
    default=_DEFAULT_OUTPUT,
    show_default=True,
    metavar="FILE",
    help="Where to write; `-` is stdout. %p is the pid, %t the time.",
)
@click.option(
    "-f",
    "--format",
    "format_name",
    metavar="FORMAT",
    help=f"{_FORMAT_NAMES}. Default: what the ending of FILE says.",
)
@click.option(
    "-r",
    "--rate",
    "rate_hz",
    type=quantities.rate,
    metavar="RATE",
    default="100",
    show_default=True,
    help="Samples per second: 100, 1kHz, 10k.",
)
@click.option(
    "-d",
    "--duration",
    "duration_s",
    type=quantities.duration,
    metavar="TIME",
    help="How long: 30, 30s, 5m, 1h. Default: until Ctrl-C or the target's end.",
)
@click.option(
    "--block/--no-block",
    " /--nonblocking",
    "stops_target",
    default=False,
    help="Stop the target for each sample, or never. Default: never.",
)
@click.option(
    "-F",
    "--function",
    "granularity",
    flag_value="function",
    default="function",
    help="One frame per function, whatever the line. The default.",
)
@click.option("--lines", "granularity", flag_value="line", help="One frame per line.")
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Search for the interpreter in memory that no file backs, too (slower).",
)
@common_options
@click.pass_context
def record(
    ctx: click.Context,
    pid: int | None,
    pid_option: int | None,
    output: str,
    format_name: str | None,
    rate_hz: float,
    duration_s: float | None,
    stops_target: bool,
    granularity: Granularity,
    exhaustive: bool,
) -> None:
    """Record where a Python process spends its time.

    \b
        pystack record 4711 -o out.json
        pystack record -o out.json -- python app.py --port 8000

    Records until the duration ends, Ctrl-C, or the end of the target, and writes the file then. A
    second Ctrl-C abandons at once. With a command, its own exit status is returned.
    """
    command: list[str] | None = ctx.meta.get(_COMMAND)
    target = _target(pid, pid_option, command)
    destination = _Destination(
        output, _format(output, format_name), granularity, settings_of(ctx).verbosity
    )
    settings = recording.Settings(rate_hz, duration_s, stops_target, exhaustive)
    try:
        check_writable(expand(output, target or 0))
    except OSError as error:
        _say(f"cannot write {output}: {error.strerror}")
        ctx.exit(1)
    with Interruption() as interruption:
        try:
            if target is not None:
                status = _record_process(target, settings, destination, interruption)
            else:
                status = _record_command(command or [], settings, destination, interruption)
        except Abandoned as abandoned:
            _say("abandoned; no file was written")
            status = abandoned.exit_status
    ctx.exit(status)


def _target(pid: int | None, pid_option: int | None, command: list[str] | None) -> int | None:
    """The process to attach to; None where a command is to be started."""
    pids = [given for given in (pid, pid_option) if given is not None]
    if len(pids) + (command is not None) != 1 or command == []:
        raise click.UsageError("Give either one PID or `-- COMMAND...`.")
    return pids[0] if pids else None


def _format(output: str, name: str | None) -> exporters.Format:
    if name is not None:
        chosen = exporters.by_name(name)
        if chosen is None:
            raise click.UsageError(f"Unknown format {name!r}; known: {_FORMAT_NAMES}.")
        return chosen
    if output == STDOUT:
        return exporters.FORMATS[0]
    chosen = exporters.by_suffix(output)
    if chosen is None:
        known = ", ".join(suffix for known in exporters.FORMATS for suffix in known.suffixes)
        raise click.UsageError(
            f"Cannot tell the format from the name {output!r}; known endings: {known}."
            " Or say it with -f."
        )
    return chosen


def _record_process(
    pid: int,
    settings: recording.Settings,
    destination: _Destination,
    interruption: Interruption,
) -> int:
    sampler = recording.open_sampler(pid, settings)
    profile = _record(sampler, pid, settings, lambda: interruption.requested, show_progress=True)
    return _save(profile, destination)


def _record_command(
    arguments: list[str],
    settings: recording.Settings,
    destination: _Destination,
    interruption: Interruption,
) -> int:
    """Returns the command's own status, whatever becomes of the recording."""
    try:
        command = Command(arguments)
    except OSError as error:
        _say(f"cannot start {arguments[0]}: {error.strerror}")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_EXECUTE
    interruption.pass_on(command.forward)
    name = quote_command(tuple(arguments))
    try:
        profile = _record_started(command, settings, interruption)
    except PystackError as error:
        _complain(error)
        _say(f"no file was written; waiting for {name} to end")
    else:
        if profile is None:
            _say(f"{name} ended before Python was found in it; no file was written")
        else:
            _save(profile, destination)
        if not command.ends_within(_SOON_S):
            _say(f"waiting for {name} to end")
    try:
        return command.wait()
    except Abandoned as abandoned:
        return abandoned.exit_status


def _record_started(
    command: Command, settings: recording.Settings, interruption: Interruption
) -> Profile | None:
    sampler = open_started(
        command,
        lambda pid: recording.open_sampler(pid, settings),
        lambda: interruption.requested,
    )
    if sampler is None:
        return None
    # No progress line: the terminal is the command's now.
    profile = _record(
        sampler,
        command.pid,
        settings,
        lambda: interruption.requested or command.has_ended(),
        show_progress=False,
    )
    if profile.metadata.end_reason == "stopped" and command.has_ended():
        profile.metadata.end_reason = "target_exited"  # we may notice before the sampler does
    return profile


def _record(
    sampler: recording.Sampler,
    pid: int,
    settings: recording.Settings,
    stop_requested: Callable[[], bool],
    *,
    show_progress: bool,
) -> Profile:
    with ProgressLine(sys.stderr, pid, settings.duration_s, shown=show_progress) as progress:
        return recording.record_samples(
            sampler, pid, settings, stop_requested=stop_requested, on_progress=progress.update
        )


def _save(profile: Profile, destination: _Destination) -> int:
    """Writes the file and says what is in it. The exit code."""
    path = expand(destination.pattern, profile.metadata.pid)
    shown = "stdout" if path == STDOUT else escape(path)
    try:
        with replacing(path) as stream:
            destination.format.export(profile, stream, granularity=destination.granularity)
    except OSError as error:
        _say(f"cannot write {shown}: {error.strerror}")
        return 1
    if destination.verbosity:
        for line in details(profile):
            _say(line)
    if profile.metadata.end_reason == "failed":
        reason = profile.metadata.error or "for an unknown reason"
        _say(f"the recording ended early: {escape(reason)}")
    _say(f"{shown}: {summary(profile)}")
    if path != STDOUT:
        how = destination.format.how_to_open.format(path=escape(shlex.quote(path)))
        _say(f"to look at it: {how}")
    return 1 if profile.metadata.end_reason == "failed" else 0


def _complain(error: PystackError) -> None:
    _say(f"{escape(str(error))}.")
    if error.hint:
        _say(escape(error.hint))


def _say(text: str) -> None:
    click.echo(f"pystack: {text}", err=True)
