"""What all commands share: the common flags, and writing to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from pystack.locals_options import Locals
    from pystack.native_options import Native

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


def locals_flags(function: Function) -> Function:
    """Adds the flags about variables; `locals_of` makes one thing of their values."""
    for option in reversed(
        (
            click.option(
                "-l",
                "--locals",
                "show_locals",
                is_flag=True,
                help="Show arguments and local variables.",
            ),
            click.option(
                "--max-depth",
                type=click.IntRange(1, 100),
                default=4,
                show_default=True,
                help="With --locals: levels of containers inside each other.",
            ),
            click.option(
                "--max-items",
                type=click.IntRange(min=0),
                default=20,
                show_default=True,
                help="With --locals: items of one container.",
            ),
            click.option(
                "--max-string",
                type=click.IntRange(min=0),
                default=200,
                show_default=True,
                help="With --locals: characters of one string.",
            ),
            click.option(
                "--max-bytes",
                type=click.IntRange(min=1),
                default=256 * 1024,
                show_default=True,
                help="With --locals: bytes to look at for one thread.",
            ),
            click.option(
                "--redact",
                multiple=True,
                metavar="PATTERN",
                help="With --locals: hide values of names that hold PATTERN, in any case, in addition to password,"
                " passwd, secret, token, credential, authorization, cookie, api_key, private_key.",
            ),
            click.option("--no-redact", is_flag=True, help="With --locals: hide no values."),
        )
    ):
        function = option(function)
    return function


def locals_of(
    *,
    show_locals: bool,
    max_depth: int,
    max_items: int,
    max_string: int,
    max_bytes: int,
    redact: tuple[str, ...],
    no_redact: bool,
) -> Locals | None:
    """What `locals_flags` came to; None: no variables are wanted."""
    if not show_locals:
        return None
    from pystack.locals_options import REDACTED_NAMES, Locals

    if no_redact and redact:
        raise click.UsageError("--redact and --no-redact exclude each other.")
    patterns = () if no_redact else (*REDACTED_NAMES, *redact)
    return Locals(max_depth, max_items, max_string, max_bytes, patterns)


def native_flags(function: Function) -> Function:
    """Adds the flags about native frames; `native_of` makes one thing of their values."""
    function = debuginfod_flags(function)
    for option in reversed(
        (
            click.option(
                "-n",
                "--native",
                is_flag=True,
                help="Show C, C++ and Rust frames, with the Python frames in their places; with -v"
                " also those of the interpreter's own machinery.",
            ),
            click.option(
                "--native-all",
                is_flag=True,
                help="The same, and the threads that Python does not know.",
            ),
            click.option(
                "--native-last",
                is_flag=True,
                help="The same, only what the innermost Python frame called.",
            ),
            click.option(
                "--signatures",
                is_flag=True,
                help="Show C++ and Rust functions with parameters and template arguments.",
            ),
        )
    ):
        function = option(function)
    return function


def debuginfod_flags(function: Function) -> Function:
    """Adds the flags about debug files from the network; `native_of` takes their values."""
    for option in reversed(
        (
            click.option(
                "--debuginfod",
                "debuginfod_urls",
                metavar="URL",
                multiple=True,
                help="With --native: get debug files that are not here from this server; may be"
                " repeated. Default: the servers in DEBUGINFOD_URLS.",
            ),
            click.option(
                "--no-debuginfod", is_flag=True, help="Get none, whatever DEBUGINFOD_URLS says."
            ),
        )
    ):
        function = option(function)
    return function


def native_of(
    *,
    native: bool,
    native_all: bool,
    native_last: bool,
    debuginfod_urls: tuple[str, ...],
    no_debuginfod: bool,
) -> Native | None:
    """What `native_flags` came to; None: no native frames are wanted."""
    if not (native or native_all or native_last):
        if debuginfod_urls:
            raise click.UsageError("--debuginfod is for native frames: give --native, too.")
        return None
    from pystack.native_options import Native

    if debuginfod_urls and no_debuginfod:
        raise click.UsageError("--debuginfod and --no-debuginfod exclude each other.")
    debuginfod = None
    if debuginfod_urls or (not no_debuginfod and os.environ.get("DEBUGINFOD_URLS")):
        from pystack.cli.debuginfod import debuginfod_of

        debuginfod = debuginfod_of(debuginfod_urls)
    return Native(native_all, native_last, debuginfod)


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
