"""The options that all commands share, and a way to pass a group of options as one argument."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import click

from pystack.cli.quantities import size

Function = TypeVar("Function", bound=Callable[..., object])

HELP_FLAGS = {"help_option_names": ["-h", "--help"]}


class Settings:
    """The common flags. They may appear before the command, after it, or both."""

    def __init__(self) -> None:
        self.verbosity = 0
        self.no_color = False


def settings_of(context: click.Context) -> Settings:
    return context.ensure_object(Settings)


def option_group(
    name: str, make: Callable[..., object], options: Sequence[Callable[[Any], Any]]
) -> Callable[[Function], Function]:
    """Returns a decorator that adds these options to a command.

    The command receives one argument `name`: the result of `make`, which is called with the values
    of the options as keyword arguments.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def with_group(*arguments: object, **values: object) -> object:
            own = {parameter: values.pop(parameter) for parameter in parameters}
            return function(*arguments, **values, **{name: make(**own)})

        command = cast("Function", with_group)
        # click keeps the options here until the function becomes a command.
        before = len(getattr(command, "__click_params__", ()))
        for option in reversed(options):
            command = option(command)
        added = getattr(command, "__click_params__", ())[before:]
        parameters = [parameter.name for parameter in added]
        return command

    return decorate


memory_option = click.option(
    "--max-memory",
    type=size,
    metavar="SIZE",
    help="Use at most this much memory for data whose size the target chooses. The rest is left"
    " out and reported. Default: 256M.",
)

priority_flag = click.option(
    "--no-priority",
    is_flag=True,
    help="Do not raise the priority of this tool while it reads.",
)

exhaustive_flag = click.option(
    "--exhaustive",
    is_flag=True,
    help="Also search anonymous memory for the interpreter (slower).",
)


def common_options(function: Function) -> Function:
    """Adds the flags of every command. Their values are in `settings_of(context)`."""
    function = click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_add_verbosity,
        help="Print more details on stderr. Repeat for even more.",
    )(function)
    return click.option(
        "--no-color",
        is_flag=True,
        expose_value=False,
        callback=_set_no_color,
        help="Disable colours, even on a terminal. NO_COLOR=1 does the same.",
    )(function)


def _add_verbosity(context: click.Context, _: click.Parameter, count: int) -> None:
    settings_of(context).verbosity += count


def _set_no_color(context: click.Context, _: click.Parameter, is_set: bool) -> None:
    if is_set:
        settings_of(context).no_color = True
