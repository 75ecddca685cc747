"""Which process a command samples, and how: its PID or `-- COMMAND...`, and the options."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import click

from pystack.cli.declare import UsageProblem, WholeNumber, argument, option, option_group
from pystack.cli.native_options import NATIVE_OPTIONS, native_of
from pystack.cli.options import exhaustive_flag, memory_option, priority_flag
from pystack.cli.quantities import is_pid, size
from pystack.cli.quantities import pid as pid_type

from . import quantities
from .settings import DEFAULT_MAX_PAUSE, DEFAULT_MAX_PROCESSES, Settings

if TYPE_CHECKING:
    from pystack.cli.declare import Function

_COMMAND = "pystack_profiler.command"  # key in click's context: the arguments after `--`


class TargetCommand(click.Command):
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
        f" before it: {ctx.info_name} -- {command}",
        ctx,
    )


def target_arguments(function: Function) -> Function:
    """PID, as an argument or an option. See `target_of`."""
    function = option(
        "-p", "--pid", "pid_option", type=pid_type, metavar="PID", help="The process to sample."
    )(function)
    return argument("pid", type=pid_type, required=False)(function)


def target_of(
    ctx: click.Context, pid: int | None, pid_option: int | None
) -> tuple[int | None, list[str]]:
    """The process to attach to, or None and the command that is to be started."""
    command: list[str] | None = ctx.meta.get(_COMMAND)
    pids = [given for given in (pid, pid_option) if given is not None]
    if len(pids) + (command is not None) != 1 or command == []:
        raise click.UsageError("Give either one PID or `-- COMMAND...`.")
    return (pids[0], []) if pids else (None, command or [])


def _settings_of(
    *,
    rate_hz: float,
    duration_s: float | None,
    subprocesses: bool,
    max_processes: int,
    stop: bool | None,
    native_stack_bytes: int,
    tasks: bool,
    max_cpu: float | None,
    max_pause: float,
    no_priority: bool,
    exhaustive: bool,
    max_memory: int | None,
    **native_flags: Any,
) -> Settings:
    native = native_of(**native_flags)
    if native is not None:
        if stop is False:
            raise UsageProblem("--native cannot be used with --no-block: threads must be stopped.")
        native = native._replace(sampled_stack_bytes=native_stack_bytes)
    return Settings(
        rate_hz,
        duration_s,
        stop,
        exhaustive,
        subprocesses,
        native,
        tasks=tasks,
        raise_priority=not no_priority,
        max_cpu=max_cpu,
        max_pause=max_pause,
        max_processes=max_processes,
        max_memory=max_memory,
    )


#: How the process is sampled, as one argument `settings`.
sampling_options = option_group(
    "settings",
    _settings_of,
    (
        option(
            "-r",
            "--rate",
            "rate_hz",
            type=quantities.rate,
            metavar="RATE",
            default="100",
            show_default=True,
            help="Samples per second: 100, 1kHz, 10k.",
        ),
        option(
            "-d",
            "--duration",
            "duration_s",
            type=quantities.duration,
            metavar="TIME",
            help="Record for this time: 30, 30s, 1m30s, 1h, unlimited. Default: until Ctrl-C or until the target"
            " exits.",
        ),
        option(
            "-s",
            "--subprocesses",
            is_flag=True,
            help="Also sample child processes that run Python.",
        ),
        option(
            "--max-processes",
            type=WholeNumber(1),
            metavar="N",
            default=DEFAULT_MAX_PROCESSES,
            show_default=True,
            help="With --subprocesses: sample at most N processes at the same time.",
        ),
        option(
            "--block/--no-block",
            " /--nonblocking",
            "stop",
            default=None,
            help="Stop each running thread for its sample, or never. Default: always with --native, else only"
            " threads whose stacks change too fast to be read.",
        ),
        *NATIVE_OPTIONS,
        option(
            "--native-stack",
            "native_stack_bytes",
            type=size,
            metavar="SIZE",
            default="1M",
            show_default=True,
            help="With --native: copy at most this much of each thread's stack per sample, from its"
            " top. The rest is a gap.",
        ),
        option(
            "--tasks",
            is_flag=True,
            help="Also sample the tasks of asyncio and trio, those that wait too: where each one awaits, and what.",
        ),
        option(
            "--max-cpu",
            "max_cpu",
            type=quantities.share,
            metavar="SHARE",
            help="Lower the rate so that the recorder uses at most this share of one CPU. Default: 20% per process"
            " with --native or --block, else no limit.",
        ),
        option(
            "--max-pause-share",
            "max_pause",
            type=quantities.share,
            metavar="SHARE",
            default=f"{DEFAULT_MAX_PAUSE:.0%}",
            show_default=True,
            help="Skip samples so that threads stand still for samples for at most this share of the time.",
        ),
        priority_flag,
        exhaustive_flag,
        memory_option,
    ),
)
