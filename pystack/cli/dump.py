"""`pystack dump PID`: where every thread is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pystack import api
from pystack.cli.options import (
    HELP_FLAGS,
    common_options,
    locals_flags,
    locals_of,
    native_flags,
    native_of,
    settings_of,
)
from pystack.cli.output import output_flags, write_snapshot

if TYPE_CHECKING:
    from pystack.render.source import SourceReader


@click.command("dump", context_settings=HELP_FLAGS)
@click.argument("pid", type=click.IntRange(min=1), required=False)
@click.option(
    "-p", "--pid", "pid_option", type=click.IntRange(min=1), metavar="PID", help="The same as PID."
)
@click.option(
    "--no-block",
    "--nonblocking",
    "no_block",
    is_flag=True,
    help="Do not stop the process while it is read.",
)
@output_flags
@native_flags
@locals_flags
@common_options
@click.pass_context
def dump(
    context: click.Context,
    /,
    pid: int | None,
    pid_option: int | None,
    no_block: bool,
    exhaustive: bool,
    as_json: bool,
    no_group: bool,
    no_source: bool,
    full: bool,
    native: bool,
    native_all: bool,
    native_last: bool,
    signatures: bool,
    debuginfod_urls: tuple[str, ...],
    no_debuginfod: bool,
    **flags: Any,
) -> None:
    """Show where every Python thread of the process PID is.

    The process is stopped for the reading, under a millisecond as a rule, and goes on after it.
    """
    if pid is not None and pid_option is not None and pid != pid_option:
        raise click.UsageError(f"Two processes were named, {pid} and {pid_option}.")
    pid = pid if pid is not None else pid_option
    if pid is None:
        raise click.UsageError("Missing argument 'PID'.")

    variables = locals_of(**flags)
    if variables is not None and no_block:
        raise click.UsageError("--locals needs the process to be stopped: not with --no-block.")
    compiled = native_of(
        native=native,
        native_all=native_all,
        native_last=native_last,
        debuginfod_urls=debuginfod_urls,
        no_debuginfod=no_debuginfod,
    )
    if compiled is not None and no_block:
        raise click.UsageError("--native needs the process to be stopped: not with --no-block.")
    snapshot = api.dump(
        pid, block=not no_block, exhaustive=exhaustive, locals=variables, native=compiled
    )
    settings = settings_of(context)
    if settings.verbosity:
        click.echo(
            f"pystack: {snapshot.executable or 'executable unknown'},"
            f" CPython {snapshot.version}, reads until consistent: {snapshot.attempts}",
            err=True,
        )

    def open_sources() -> SourceReader:
        from pystack.render.source import SourceReader

        return SourceReader(pid)

    write_snapshot(
        snapshot,
        settings,
        as_json=as_json,
        group=not no_group,
        full=full,
        signatures=signatures,
        open_sources=None if no_source else open_sources,
    )
