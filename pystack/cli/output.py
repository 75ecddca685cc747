"""What `dump` and `core` share: the flags about what is printed, and printing a snapshot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from pystack.cli.options import Function, Settings, write_stdout

if TYPE_CHECKING:
    from pystack.model import Snapshot
    from pystack.render.source import SourceReader


def output_flags(function: Function) -> Function:
    """Adds the flags about the search for the interpreter and about what is printed."""
    for option in reversed(
        (
            click.option(
                "--exhaustive",
                is_flag=True,
                help="Search for the interpreter in memory that no file backs, too (slower).",
            ),
            click.option(
                "-j", "--json", "as_json", is_flag=True, help="Print JSON; the schema is dump-v1."
            ),
            click.option(
                "--no-group", is_flag=True, help="Show threads one by one that idle alike."
            ),
            click.option("--no-source", is_flag=True, help="Do not read source files."),
            click.option(
                "--full",
                is_flag=True,
                help="Show repeated frames, long lines and long values in full.",
            ),
        )
    ):
        function = option(function)
    return function


def write_snapshot(
    snapshot: Snapshot,
    settings: Settings,
    *,
    as_json: bool,
    group: bool,
    full: bool,
    signatures: bool,
    open_sources: Callable[[], SourceReader] | None,
) -> None:
    """Prints it. `open_sources` is called for text only, None: no source lines."""
    if as_json:
        from pystack.render.json import render_json

        write_stdout([render_json(snapshot)])
        return
    from pystack.render.terminal import wants_colour
    from pystack.render.text import render_text

    lines = render_text(
        snapshot,
        color=wants_colour(sys.stdout, no_color=settings.no_color),
        group=group,
        full=full,
        plumbing=settings.verbosity > 0,
        signatures=signatures,
        sources=None if open_sources is None else open_sources(),
    )
    write_stdout(line + "\n" for line in lines)
