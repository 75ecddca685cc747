"""The `pystack` command as click sees it: for help, errors, completion and all that is not usual."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from pystack import __version__
from pystack.cli import commands
from pystack.cli.click_commands import click_command
from pystack.cli.declare import Command
from pystack.cli.options import HELP_FLAGS, common_options, settings_of
from pystack.cli.outcome import INTERRUPTED, reported
from pystack.cli.screen import guarded, print_status


class LazyGroup(click.Group):
    """Imports a sub-command when it is called, and turns exceptions into exit statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(commands.COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = commands.load(cmd_name)
        return click_command(command) if isinstance(command, Command) else command

    def invoke(self, ctx: click.Context) -> Any:
        run = super().invoke
        status = reported(lambda: run(ctx), settings_of(ctx))
        if status:
            ctx.exit(status)


@click.group(cls=LazyGroup, context_settings=HELP_FLAGS)
@click.version_option(__version__, "--version", prog_name="pystack", message="%(prog)s %(version)s")
@common_options
def cli() -> None:
    """Show where a Python process is: now (dump), when it died (core), and over time (record).

    The process is read from outside: pystack never writes to it, never runs code in it, and never
    leaves it stopped.
    """


def run(words: Sequence[str]) -> int:
    """Runs a command line and returns its exit status."""
    try:
        status = cli.main(words, prog_name="pystack", standalone_mode=False)
    except click.ClickException as error:
        error.show(None if sys.stderr is None else guarded(sys.stderr))
        return error.exit_code
    except click.Abort:
        print_status("interrupted")
        return INTERRUPTED
    return status if isinstance(status, int) else 0
