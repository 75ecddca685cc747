"""Commands and their parameters as plain data.

Importing click takes longer than starting the interpreter. So `quick_parse` reads the usual command lines by
these declarations, and `click_commands` makes click's objects of them for everything else: help, errors and
shell completion.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple, TypeVar

    Function = TypeVar("Function", bound=Callable[..., object])
else:
    from pystack.named_tuple import NamedTuple


class UsageProblem(Exception):
    """The arguments do not fit together. Raised before the command has done anything."""


class BadValue(UsageProblem):
    """An argument is not what its parameter takes."""


class Settings:
    """The common flags. They may appear before the command, after it, or both."""

    def __init__(self) -> None:
        self.verbosity = 0
        self.no_color = False


class WholeNumber(NamedTuple):
    """The type of a parameter: an integer from `least` to `most`."""

    least: int
    most: int | None = None


class FileName(NamedTuple):
    """The type of a parameter: a path, and whether it must be an existing folder."""

    is_folder: bool = False


class Option:
    """An option. As a decorator, it adds itself to a function that becomes a click command."""

    __slots__ = ("attributes", "into", "names")

    def __init__(
        self,
        names: tuple[str, ...],
        attributes: dict[str, Any],
        into: Callable[[Settings, Any], None] | None,
    ) -> None:
        """
        Args:
            names: As click takes them: `-j`, `--json`, `--tasks/--no-tasks`, and the name of the parameter.
            attributes: Arguments of click.option. A function as `type` converts a text and raises `BadValue`.
            into: Receives the value, which is not an argument of the command then.
        """
        self.names = names
        self.attributes = attributes
        self.into = into

    @property
    def key(self) -> str:
        """The parameter's name, by click's rule."""
        for name in self.names:
            if name.isidentifier():
                return name
        longest = next((name for name in self.names if name.startswith("--")), self.names[0])
        return longest.partition("/")[0].lstrip("-").replace("-", "_")

    def __call__(self, function: Function) -> Function:
        from pystack.cli.click_commands import add_option

        return add_option(self, function)


class Argument:
    """An argument without a name, and the arguments of click.argument."""

    __slots__ = ("attributes", "key")

    def __init__(self, key: str, attributes: dict[str, Any]) -> None:
        self.key = key
        self.attributes = attributes

    def __call__(self, function: Function) -> Function:
        from pystack.cli.click_commands import add_argument

        return add_argument(self, function)


class OptionGroup:
    """Options that reach the command as one argument `key`.

    `make` receives their values as keyword arguments, returns that argument, and may raise `UsageProblem`.
    """

    __slots__ = ("key", "make", "options")

    def __init__(self, key: str, make: Callable[..., object], options: Sequence[Option]) -> None:
        self.key = key
        self.make = make
        self.options = options

    def collect(self, values: dict[str, Any]) -> None:
        """Replaces the values of the options by the argument."""
        own = {option.key: values.pop(option.key) for option in self.options}
        values[self.key] = self.make(**own)

    def __call__(self, function: Function) -> Function:
        @functools.wraps(function)
        def with_group(*arguments: object, **values: object) -> object:
            from pystack.cli.click_commands import usage_errors

            with usage_errors():
                self.collect(values)
            return function(*arguments, **values)

        command: Function = with_group  # type: ignore[assignment]
        for option in reversed(self.options):
            command = option(command)
        return command


class Command(NamedTuple):
    """A command: a function that takes the settings and a keyword argument for each parameter."""

    name: str
    run: Callable[..., int]
    parameters: tuple[Option | Argument | OptionGroup, ...]

    def options(self) -> Iterator[Option]:
        for parameter in self.parameters:
            if isinstance(parameter, OptionGroup):
                yield from parameter.options
            elif isinstance(parameter, Option):
                yield parameter


def option(
    *names: str, into: Callable[[Settings, Any], None] | None = None, **attributes: Any
) -> Option:
    """Declares an option; the arguments are those of click.option."""
    return Option(names, attributes, into)


def argument(key: str, **attributes: Any) -> Argument:
    """Declares an argument without a name; the arguments are those of click.argument."""
    return Argument(key, attributes)


def option_group(key: str, make: Callable[..., object], options: Sequence[Option]) -> OptionGroup:
    return OptionGroup(key, make, options)


def command(
    name: str, *parameters: Option | Argument | OptionGroup
) -> Callable[[Callable[..., int]], Command]:
    """Makes a function, which returns the exit status, a command."""
    return lambda function: Command(name, function, parameters)
