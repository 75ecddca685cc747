"""The command line of `pystack top`."""

from __future__ import annotations

import click

from pystack.cli.declare import option
from pystack.cli.options import HELP_FLAGS, common_options, settings_of
from pystack.cli.quantities import seconds

from .interruption import Abandoned, Interruption
from .settings import Settings
from .target_options import TargetCommand, sampling_options, target_arguments, target_of
from .top.selection import Look, Selection
from .top.session import top_command, top_process
from .view import MODES, Mode


@click.command("top", cls=TargetCommand, context_settings=HELP_FLAGS)
@target_arguments
@option("--once", is_flag=True, help="Print one frame as text after the time of --every.")
@option(
    "--every",
    "every_s",
    type=seconds,
    metavar="TIME",
    default="1s",
    show_default=True,
    help="The time between two frames: 1s, 500ms.",
)
@option(
    "--mode",
    type=click.Choice(MODES),
    default="wall",
    show_default=True,
    help="Rank functions by this time: all but that of idle threads (wall), on a CPU (cpu), with the GIL (gil), ready to run"
    " without a CPU (runnable), or waiting (waits).",
)
@sampling_options
@common_options
@click.pass_context
def top(
    ctx: click.Context,
    pid: int | None,
    pid_option: int | None,
    once: bool,
    every_s: float,
    mode: Mode,
    settings: Settings,
) -> None:
    """Show live what the threads and functions of a Python process do.

    \b
        pystack top 4711
        pystack top -s 4711
        pystack top -- python app.py --port 8000
        pystack top --once 4711

    On a terminal, a screen with keys, which needs Textual: pip install 'pystack-profiler[top]'. Without it, with --once, or if
    the output is not a terminal, frames are printed as text. Ends with q or Ctrl-C. The output of a COMMAND is hidden by the
    screen; its last lines are printed afterwards.
    """
    target, command = target_of(ctx, pid, pid_option)
    look = Look(Selection(mode=mode), every_s, once, settings_of(ctx).no_color)
    with Interruption() as interruption:
        try:
            if target is not None:
                status = top_process(target, settings, look, interruption)
            else:
                status = top_command(command, settings, look, interruption)
        except Abandoned as abandoned:
            status = abandoned.exit_status
    ctx.exit(status)
