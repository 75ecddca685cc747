"""`pystack dump PID`: where every thread is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pystack import api
from pystack.cli.locals_options import locals_options
from pystack.cli.native_options import native_options
from pystack.cli.options import (
    HELP_FLAGS,
    common_options,
    exhaustive_flag,
    memory_option,
    priority_flag,
    settings_of,
)
from pystack.cli.output import Output, output_options, write_snapshot
from pystack.cli.screen import print_status

if TYPE_CHECKING:
    from pystack.locals_options import Locals
    from pystack.native_options import Native
    from pystack.render.source import SourceReader


@click.command("dump", context_settings=HELP_FLAGS)
@click.argument("pid", type=click.IntRange(min=1), required=False)
@click.option(
    "-p", "--pid", "pid_option", type=click.IntRange(min=1), metavar="PID", help="Same as PID."
)
@click.option(
    "--no-block",
    "--nonblocking",
    "no_block",
    is_flag=True,
    help="Do not stop the process while it is read.",
)
@priority_flag
@exhaustive_flag
@output_options
@native_options
@locals_options
@memory_option
@common_options
@click.pass_context
def dump(
    context: click.Context,
    /,
    pid: int | None,
    pid_option: int | None,
    no_block: bool,
    no_priority: bool,
    exhaustive: bool,
    output: Output,
    native: Native | None,
    variables: Locals | None,
    max_memory: int | None,
) -> None:
    """Show where every Python thread of the process PID is.

    The process is paused while it is read, usually for less than a millisecond.
    """
    if pid is not None and pid_option is not None and pid != pid_option:
        raise click.UsageError(f"Two processes were given: {pid} and {pid_option}.")
    pid = pid if pid is not None else pid_option
    if pid is None:
        raise click.UsageError("Missing argument 'PID'.")
    if no_block:
        if variables is not None:
            raise click.UsageError(
                "--locals cannot be used with --no-block: the process must be stopped."
            )
        if native is not None:
            raise click.UsageError(
                "--native cannot be used with --no-block: the process must be stopped."
            )

    # Before the process is read, because it may exit afterwards.
    sources = _sources_of(pid) if output.wants_sources else None
    snapshot = api.dump(
        pid,
        block=not no_block,
        exhaustive=exhaustive,
        locals=variables,
        native=native,
        raise_priority=not no_priority,
        max_memory=max_memory,
    )
    settings = settings_of(context)
    if settings.verbosity:
        print_status(
            f"{snapshot.executable or 'executable unknown'},"
            f" CPython {snapshot.version}, reads until consistent: {snapshot.attempts}"
        )
    write_snapshot(snapshot, output, settings, sources)


def _sources_of(pid: int) -> SourceReader:
    from pystack.render.source import SourceReader

    return SourceReader.of_process(pid)
