"""`pystack record`: what the user asks for."""

from __future__ import annotations

import click

from pystack.cli.options import (
    HELP_FLAGS,
    common_options,
    debuginfod_flags,
    native_of,
    settings_of,
)

from . import exporters, quantities
from .interruption import Abandoned, Interruption
from .output import STDOUT, check_writable, expand
from .recording import Settings
from .session import Destination, record_command, record_process, say
from .view import MODES, Granularity, Mode, View

_DEFAULT_NAME = "pystack-%p-%t"
_FORMAT_NAMES = ", ".join(known.name for known in exporters.FORMATS)
_COMMAND = "pystack_profiler.command"  # key of click's context: what stood after `--`


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


@click.command("record", cls=_RecordCommand, context_settings=HELP_FLAGS)
@click.argument("pid", type=quantities.pid, required=False)
@click.option(
    "-p", "--pid", "pid_option", type=quantities.pid, metavar="PID", help="The process to record."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write; `-` is stdout. %p is the pid, %t the time."
    f" Default: {_DEFAULT_NAME} and the ending of the format.",
)
@click.option(
    "-f",
    "--format",
    "format_name",
    metavar="FORMAT",
    help=f"{_FORMAT_NAMES}. Default: what the ending of FILE says; without FILE"
    f" {exporters.DEFAULT.name}, on stdout {exporters.DEFAULT_ON_STDOUT.name}.",
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
    "--mode",
    type=click.Choice(MODES),
    default="wall",
    show_default=True,
    help="Which time the file shows: all of it, that on a CPU, or that with the GIL.",
)
@click.option("-i", "--idle", "mode", flag_value="wall", help="The same as --mode wall.")
@click.option("-g", "--gil", "mode", flag_value="gil", help="The same as --mode gil.")
@click.option(
    "-t", "--threads", is_flag=True, help="Threads, and processes, as root frames of their stacks."
)
@click.option(
    "-s",
    "--subprocesses",
    is_flag=True,
    help="Record all Python processes that it starts, too, each by its own name in one file.",
)
@click.option(
    "--block/--no-block",
    " /--nonblocking",
    "stops_target",
    default=None,
    help="Stop the target for each sample, or never. Default: never, except with --native.",
)
@click.option(
    "-n",
    "--native",
    is_flag=True,
    help="C, C++ and Rust frames, too, with the Python frames in their places.",
)
@click.option(
    "--native-all",
    is_flag=True,
    help="The same, and the threads that Python does not know.",
)
@click.option(
    "--native-last",
    is_flag=True,
    help="The same, only what the innermost Python frame called.",
)
@click.option(
    "--native-stack",
    "native_stack_bytes",
    type=quantities.size,
    metavar="SIZE",
    default="1M",
    show_default=True,
    help="How much of each thread's stack is copied for a sample, from its top; the rest is a gap.",
)
@debuginfod_flags
@click.option(
    "-F",
    "--function",
    "--nolineno",
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
    output: str | None,
    format_name: str | None,
    rate_hz: float,
    duration_s: float | None,
    mode: Mode,
    threads: bool,
    subprocesses: bool,
    stops_target: bool | None,
    native: bool,
    native_all: bool,
    native_last: bool,
    native_stack_bytes: int,
    debuginfod_urls: tuple[str, ...],
    no_debuginfod: bool,
    granularity: Granularity,
    exhaustive: bool,
) -> None:
    """Record where a Python process spends its time.

    \b
        pystack record 4711 -o out.html
        pystack record -o out.json -- python app.py --port 8000

    Records until the duration ends, Ctrl-C, or the end of the target, and writes the file then. A
    second Ctrl-C abandons at once. With a command, its own exit status is returned.
    """
    command: list[str] | None = ctx.meta.get(_COMMAND)
    target = _target(pid, pid_option, command)
    chosen = _format(output, format_name)
    if output is None:
        output = _DEFAULT_NAME + chosen.suffixes[0]
    destination = Destination(
        output, chosen, View(mode, granularity, threads), settings_of(ctx).verbosity
    )
    compiled = native_of(
        native=native,
        native_all=native_all,
        native_last=native_last,
        debuginfod_urls=debuginfod_urls,
        no_debuginfod=no_debuginfod,
    )
    if compiled is not None and stops_target is False:
        raise click.UsageError("--native needs the target to be stopped: not with --no-block.")
    if compiled is not None:
        compiled = compiled._replace(sampled_stack_bytes=native_stack_bytes)
    settings = Settings(rate_hz, duration_s, bool(stops_target), exhaustive, subprocesses, compiled)
    try:
        check_writable(expand(output, target or 0))
    except OSError as error:
        say(f"cannot write {output}: {error.strerror}")
        ctx.exit(1)
    with Interruption() as interruption:
        try:
            if target is not None:
                status = record_process(target, settings, destination, interruption)
            else:
                status = record_command(command or [], settings, destination, interruption)
        except Abandoned as abandoned:
            say("abandoned; no file was written")
            status = abandoned.exit_status
    ctx.exit(status)


def _target(pid: int | None, pid_option: int | None, command: list[str] | None) -> int | None:
    """The process to attach to; None where a command is to be started."""
    pids = [given for given in (pid, pid_option) if given is not None]
    if len(pids) + (command is not None) != 1 or command == []:
        raise click.UsageError("Give either one PID or `-- COMMAND...`.")
    return pids[0] if pids else None


def _format(output: str | None, name: str | None) -> exporters.Format:
    if name is not None:
        chosen = exporters.by_name(name)
        if chosen is None:
            raise click.UsageError(f"Unknown format {name!r}; known: {_FORMAT_NAMES}.")
        return chosen
    if output is None:
        return exporters.DEFAULT
    if output == STDOUT:
        return exporters.DEFAULT_ON_STDOUT
    chosen = exporters.by_suffix(output)
    if chosen is None:
        known = ", ".join(suffix for known in exporters.FORMATS for suffix in known.suffixes)
        raise click.UsageError(
            f"Cannot tell the format from the name {output!r}; known endings: {known}."
            " Or say it with -f."
        )
    return chosen
