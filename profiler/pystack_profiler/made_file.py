"""Writes a recording that was made from files, and says what it has."""

from __future__ import annotations

import click

from pystack.cli.screen import print_status

from . import exporters
from .output import STDOUT
from .profile import Recording
from .sinks import FileSink
from .view import View


def write_made(
    ctx: click.Context,
    recording: Recording,
    output: str,
    format: exporters.Format,
    view: View,
    contents: str,
) -> None:
    """`contents` is said of the file, unless it is stdout. Ends the command if it cannot be written."""
    try:
        FileSink(output, format, view).write(recording)
    except OSError as error:
        print_status(f"cannot write {output}: {error.strerror}")
        ctx.exit(1)
    if output != STDOUT:
        print_status(f"{output}: {contents}")
