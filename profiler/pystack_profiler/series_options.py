"""The options of `pystack record` for a file per stretch of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pystack.cli.declare import WholeNumber, option

from . import quantities
from .output import expand, is_replaceable

_OPTIONS = (
    option(
        "--every",
        "every_s",
        type=quantities.duration,
        metavar="TIME",
        help="Write a file for each stretch of this time, at least 1s. The name of FILE needs %t, the time of"
        " its begin.",
    ),
    option(
        "--max-files",
        type=WholeNumber(1),
        metavar="N",
        help="With --every: remove the oldest files of this recording, so that N are left. Default: keep all.",
    ),
)


def series_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Passes `every_s`, in seconds, and `max_files`; None: not given."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def check_series(output: str, every_s: float | None, max_files: int | None) -> None:
    """Raises `click.UsageError` for what makes no sense. `output`: the pattern of the file."""
    if every_s is None:
        if max_files is not None:
            raise click.UsageError("--max-files needs --every.")
        return
    if every_s < 1:
        raise click.UsageError("--every needs at least 1s.")
    if not is_replaceable(output):
        raise click.UsageError("--every needs a file name, not a pipe, a device or stdout.")
    if expand(output, 0, 0) == expand(output, 0, 10**9):
        raise click.UsageError("--every needs %t in the name of -o: each file has another time.")
