"""The options that several commands share."""

from __future__ import annotations

from pystack.cli.declare import Settings, option
from pystack.cli.quantities import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click

    from pystack.cli.declare import Function

HELP_FLAGS = {"help_option_names": ["-h", "--help"]}


def settings_of(context: click.Context) -> Settings:
    return context.ensure_object(Settings)


memory_option = option(
    "--max-memory",
    type=size,
    metavar="SIZE",
    help="Use at most this much memory for data whose size the target chooses. The rest is left"
    " out and reported. Default: 256M.",
)

priority_flag = option(
    "--no-priority",
    is_flag=True,
    help="Do not raise the priority of this tool while it reads.",
)

exhaustive_flag = option(
    "--exhaustive",
    is_flag=True,
    help="Also search anonymous memory for the interpreter (slower).",
)


def _add_verbosity(settings: Settings, count: int) -> None:
    settings.verbosity += count


def _set_no_color(settings: Settings, is_set: bool) -> None:
    settings.no_color |= is_set


#: The flags of every command, which go into `Settings`.
COMMON_OPTIONS = (
    option(
        "--no-color",
        is_flag=True,
        into=_set_no_color,
        help="Disable colours, even on a terminal. NO_COLOR=1 does the same.",
    ),
    option(
        "-v",
        "--verbose",
        count=True,
        into=_add_verbosity,
        help="Print more details on stderr. Repeat for even more.",
    ),
)


def common_options(function: Function) -> Function:
    """Adds the flags of every command to a click command. Their values are in `settings_of(context)`."""
    for common in reversed(COMMON_OPTIONS):
        function = common(function)
    return function
