"""The command line of `pystack record`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import click

from pystack.cli.native_options import NATIVE_OPTIONS, native_of
from pystack.cli.options import (
    HELP_FLAGS,
    common_options,
    exhaustive_flag,
    memory_option,
    option_group,
    priority_flag,
    settings_of,
)
from pystack.cli.quantities import is_pid, size
from pystack.cli.quantities import pid as pid_type
from pystack.cli.screen import print_status

from . import quantities
from .destination import Destination, kept_beside
from .format_options import (
    chosen_format,
    format_option,
    frame_options,
    mode_options,
    push_option,
    push_target,
)
from .interruption import Abandoned, Interruption
from .output import expand
from .session import record_command, record_process
from .settings import DEFAULT_MAX_PAUSE, DEFAULT_MAX_PROCESSES, Settings
from .view import Granularity, Mode, View

if TYPE_CHECKING:
    from pystack.native_options import Native

_DEFAULT_NAME = "pystack-%p-%t"
_COMMAND = "pystack_profiler.command"  # key in click's context: the arguments after `--`


class _RecordCommand(click.Command):
    """Separates the command, which click would mix with the PID and the options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        at = self._first_word(ctx, args[:end])
        if at < end and not is_pid(args[at]):
            if shutil.which(args[at]) is None:
                raise _not_a_target(args[at], ctx)
            ctx.meta[_COMMAND] = args[at:]
            args = args[:at]
        elif end < len(args):
            ctx.meta[_COMMAND] = args[end + 1 :]
            args = args[:end]
        return super().parse_args(ctx, args)

    def _first_word(self, ctx: click.Context, args: list[str]) -> int:
        """The place of the first argument that is neither an option nor the value of one."""
        parser = self.make_parser(ctx)
        parser.allow_interspersed_args = False
        values, rest, _ = parser.parse_args(list(args))
        return len(args) - len(rest) - isinstance(values.get("pid"), str)

    def collect_usage_pieces(self, _: click.Context) -> list[str]:
        return ["[OPTIONS]", "{PID | -- COMMAND...}"]


def _not_a_target(word: str, ctx: click.Context) -> click.UsageError:
    command = f"python {word}" if word.endswith(".py") else word
    return click.UsageError(
        f"{word!r} is neither a process ID nor a program in PATH. To record a command, put `--`"
        f" before it: record -- {command}",
        ctx,
    )


def _native_of(*, native_stack_bytes: int, **flags: Any) -> Native | None:
    native = native_of(**flags)
    return native and native._replace(sampled_stack_bytes=native_stack_bytes)


_native_options = option_group(
    "native",
    _native_of,
    (
        *NATIVE_OPTIONS,
        click.option(
            "--native-stack",
            "native_stack_bytes",
            type=size,
            metavar="SIZE",
            default="1M",
            show_default=True,
            help="With --native: copy at most this much of each thread's stack per sample, from its"
            " top. The rest is a gap.",
        ),
    ),
)


@click.command("record", cls=_RecordCommand, context_settings=HELP_FLAGS)
@click.argument("pid", type=pid_type, required=False)
@click.option(
    "-p", "--pid", "pid_option", type=pid_type, metavar="PID", help="The process to record."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write to FILE; `-` is stdout. %p is the pid, %t the time."
    f" Default: {_DEFAULT_NAME} with the suffix of the format.",
)
@format_option
@click.option(
    "--keep",
    is_flag=True,
    help="Also keep everything that was recorded, for `pystack report` and `pystack convert`, in a file"
    " with the suffix .pystack beside FILE. It grows while recording.",
)
@push_option
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
    help="Record for this time: 30, 30s, 1m30s, 1h, unlimited. Default: until Ctrl-C or until the target"
    " exits.",
)
@mode_options
@click.option("-t", "--threads", is_flag=True, help="Show threads, and processes, as root frames.")
@click.option(
    "-s",
    "--subprocesses",
    is_flag=True,
    help="Also record child processes that run Python, in the same file.",
)
@click.option(
    "--max-processes",
    type=click.IntRange(min=1),
    metavar="N",
    default=DEFAULT_MAX_PROCESSES,
    show_default=True,
    help="With --subprocesses: record at most N processes at the same time.",
)
@click.option(
    "--block/--no-block",
    " /--nonblocking",
    "stop",
    default=None,
    help="Stop each running thread for its sample, or never. Default: always with --native, else only"
    " threads whose stacks change too fast to be read.",
)
@_native_options
@click.option(
    "--max-cpu",
    "max_cpu",
    type=quantities.share,
    metavar="SHARE",
    help="Skip samples so that sampling a process uses at most this share of one CPU. Default: 20% with"
    " --native or --block, else no limit.",
)
@click.option(
    "--max-pause-share",
    "max_pause",
    type=quantities.share,
    metavar="SHARE",
    default=f"{DEFAULT_MAX_PAUSE:.0%}",
    show_default=True,
    help="Skip samples so that threads stand still for samples for at most this share of the time.",
)
@priority_flag
@frame_options
@exhaustive_flag
@memory_option
@common_options
@click.pass_context
def record(
    ctx: click.Context,
    pid: int | None,
    pid_option: int | None,
    output: str | None,
    format_name: str | None,
    keep: bool,
    push_url: str | None,
    rate_hz: float,
    duration_s: float | None,
    mode: Mode,
    threads: bool,
    subprocesses: bool,
    max_processes: int,
    stop: bool | None,
    native: Native | None,
    max_cpu: float | None,
    max_pause: float,
    no_priority: bool,
    granularity: Granularity,
    full_filenames: bool,
    exhaustive: bool,
    max_memory: int | None,
) -> None:
    """Record where a Python process spends its time.

    \b
        pystack record 4711 -o out.html
        pystack record -o out.json -- python app.py --port 8000

    `--` may be omitted if COMMAND is a program in PATH.
    Records until the duration is over, Ctrl-C is pressed or the target exits, then writes the file.
    A second Ctrl-C aborts without a file. With a COMMAND, the exit status is that of the command.
    """
    command: list[str] | None = ctx.meta.get(_COMMAND)
    target = _target(pid, pid_option, command)
    chosen = chosen_format(output, format_name)
    if output is None:
        output = _DEFAULT_NAME + chosen.suffixes[0]
    view = View(mode, granularity, threads, full_filenames)
    kept = kept_beside(output, chosen, _DEFAULT_NAME) if keep else None
    destination = Destination(
        output, chosen, view, settings_of(ctx).verbosity, kept, push_target(push_url)
    )
    if native is not None and stop is False:
        raise click.UsageError("--native cannot be used with --no-block: threads must be stopped.")
    settings = Settings(
        rate_hz,
        duration_s,
        stop,
        exhaustive,
        subprocesses,
        native,
        raise_priority=not no_priority,
        max_cpu=max_cpu,
        max_pause=max_pause,
        max_processes=max_processes,
        max_memory=max_memory,
    )
    for file in filter(None, (destination, destination.recording_file())):
        try:
            file.sink(expand(file.pattern, target or 0)).open()
        except OSError as error:
            print_status(f"cannot write {file.pattern}: {error.strerror}")
            ctx.exit(1)
    with Interruption() as interruption:
        try:
            if target is not None:
                status = record_process(target, settings, destination, interruption)
            else:
                status = record_command(command or [], settings, destination, interruption)
        except Abandoned as abandoned:
            print_status("aborted; nothing was written")
            status = abandoned.exit_status
    ctx.exit(status)


def _target(pid: int | None, pid_option: int | None, command: list[str] | None) -> int | None:
    """The process to attach to; None if a command is to be started."""
    pids = [given for given in (pid, pid_option) if given is not None]
    if len(pids) + (command is not None) != 1 or command == []:
        raise click.UsageError("Give either one PID or `-- COMMAND...`.")
    return pids[0] if pids else None
