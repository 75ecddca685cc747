"""What all commands share: the common flags, and writing to standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., object])

HELP_FLAGS = {"help_option_names": ["-h", "--help"]}


class Settings:
    """The common flags. They may stand before the command, after it, or both."""

    def __init__(self) -> None:
        self.verbosity = 0
        self.no_color = False


def settings_of(context: click.Context) -> Settings:
    return context.ensure_object(Settings)


def common_options(function: Function) -> Function:
    """Adds the flags that every command takes. Their values are in `settings_of(context)`."""
    function = click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_add_verbosity,
        help="Say more on stderr; repeat for still more.",
    )(function)
    return click.option(
        "--no-color",
        is_flag=True,
        expose_value=False,
        callback=_set_no_color,
        help="No colours, on a terminal either (also: NO_COLOR).",
    )(function)


def _add_verbosity(context: click.Context, _: click.Parameter, count: int) -> None:
    settings_of(context).verbosity += count


def _set_no_color(context: click.Context, _: click.Parameter, is_set: bool) -> None:
    if is_set:
        settings_of(context).no_color = True


def write_stdout(chunks: Iterable[str]) -> None:
    """Writes all and flushes, so that a full disk or a closed pipe shows here and not at exit."""
    stream = sys.stdout
    if stream is None:  # started with stdout closed
        return
    if hasattr(stream, "reconfigure"):
        # File names need not fit the terminal's encoding.
        stream.reconfigure(errors="backslashreplace")
    stream.writelines(chunks)
    stream.flush()
