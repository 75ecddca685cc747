"""The options of all commands that write files: the format, and what of a recording is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pystack.cli.declare import WholeNumber, option, option_group

from . import exporters
from .output import STDOUT
from .view import ALL_MODES, Mode

if TYPE_CHECKING:
    from .push import PushTarget

Function = TypeVar("Function", bound=Callable[..., object])

_FORMAT_NAMES = ", ".join(known.name for known in exporters.FORMATS)


def _mode_of(*, mode: Mode | None, idle: bool, gil: bool) -> Mode:
    chosen: dict[str, Mode] = {}
    if mode is not None:
        chosen[f"--mode {mode}"] = mode
    if idle:
        chosen["--idle (-i)"] = "wall"
    if gil:
        chosen["--gil (-g)"] = "gil"
    if len(set(chosen.values())) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} exclude each other.")
    return next(iter(chosen.values()), "wall")


mode_options = option_group(
    "mode",
    _mode_of,
    (
        option(
            "--mode",
            type=click.Choice(ALL_MODES),
            help="Show all time (wall), time on a CPU (cpu), time with the GIL (gil), time in which a"
            " thread was ready to run but had no CPU (runnable), time in which it waited for something else, such"
            " as a lock (waits), or the time of asyncio and trio tasks (tasks). Default: wall.",
        ),
        option("-i", "--idle", is_flag=True, help="Same as --mode wall."),
        option("-g", "--gil", is_flag=True, help="Same as --mode gil."),
    ),
)


format_option = option(
    "-f",
    "--format",
    "format_name",
    metavar="FORMAT",
    help=f"Write this format: {_FORMAT_NAMES}. Default: by the suffix of FILE, else"
    f" {exporters.DEFAULT.name}; on stdout {exporters.DEFAULT_ON_STDOUT.name}.",
)


push_option = option(
    "--push",
    "push_url",
    metavar="URL",
    help="Also send the recording to a server: pprof to .../ingest (Pyroscope), OTLP to"
    " .../v1development/profiles (OpenTelemetry). A token and a tenant are taken from PYSTACK_PUSH_TOKEN"
    " and PYSTACK_PUSH_TENANT.",
)


def push_target(url: str | None) -> PushTarget | None:
    """Raises InvalidArgument."""
    if url is None:
        return None
    from .push import PushTarget  # imports HTTP

    return PushTarget.of(url)


json_option = option("--json", "as_json", is_flag=True, help="Print JSON with a versioned schema.")


def limit_option(default: int, what: str) -> Callable[[Function], Function]:
    """`--limit`: how many of `what` are printed."""
    return option(
        "--limit",
        type=WholeNumber(1),
        metavar="N",
        default=default,
        show_default=True,
        help=f"Print at most N {what}.",
    )


def frame_options(function: Function) -> Function:
    """`--lines` and `--function` as `granularity`, and `--full-filenames`."""
    options: tuple[Callable[[Any], Any], ...] = (
        option(
            "-F",
            "--function",
            "--nolineno",
            "granularity",
            flag_value="function",
            default="function",
            help="Merge the lines of a function into one frame. The default.",
        ),
        option("--lines", "granularity", flag_value="line", help="Show one frame per line."),
        option(
            "--full-filenames",
            is_flag=True,
            help="Show whole paths in the names of frames. Default: as much as tells files apart.",
        ),
    )
    for add in reversed(options):
        function = add(function)
    return function


source_option = click.option(
    "--no-source",
    is_flag=True,
    help="Leave source lines out of the flame graph page. Default: lines near sampled ones, of functions whose files"
    " can be read.",
)


def chosen_format(output: str | None, name: str | None) -> exporters.Format:
    """The format of a file by the option -f, else by its suffix. Raises click.UsageError."""
    if name is not None:
        chosen = exporters.by_name(name)
        if chosen is None:
            raise click.UsageError(f"Unknown format {name!r}; known formats: {_FORMAT_NAMES}.")
        named = None if output is None else exporters.by_suffix(output)
        if named not in (None, chosen) or (output is not None and exporters.is_foreign(output)):
            raise click.UsageError(
                f"The format {name} does not fit the name {output!r}: end the name with"
                f" {' or '.join(chosen.suffixes)}{', or omit -f' if named else ''}."
            )
        return chosen
    if output is None:
        return exporters.DEFAULT
    if output == STDOUT:
        return exporters.DEFAULT_ON_STDOUT
    chosen = exporters.by_suffix(output)
    if chosen is None:
        known = ", ".join(suffix for known in exporters.FORMATS for suffix in known.suffixes)
        raise click.UsageError(
            f"Cannot tell the format from the name {output!r}; known suffixes: {known}. Use one of these"
            f"{'' if exporters.is_foreign(output) else ', or give the format with -f'}."
        )
    return chosen
