"""Makes click's objects from declarations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pystack.cli.declare import (
    Argument,
    BadValue,
    Command,
    FileName,
    Option,
    UsageProblem,
    WholeNumber,
)
from pystack.cli.options import HELP_FLAGS, common_options, settings_of

if TYPE_CHECKING:
    from pystack.cli.declare import Function


def add_option(option: Option, function: Function) -> Function:
    attributes = _for_click(option.attributes)
    into = option.into
    if into is not None:

        def receive(context: click.Context, _: click.Parameter, value: Any) -> None:
            into(settings_of(context), value)

        attributes.update(callback=receive, expose_value=False)
    return click.option(*option.names, **attributes)(function)


def add_argument(argument: Argument, function: Function) -> Function:
    return click.argument(argument.key, **_for_click(argument.attributes))(function)


def click_command(declared: Command) -> click.Command:
    """The command as click runs it. Exits with the status of the function if that is not 0."""

    def run(**values: Any) -> None:
        context = click.get_current_context()
        with usage_errors():
            status = declared.run(settings_of(context), **values)
        if status:
            context.exit(status)

    function: Callable[..., object] = run
    for decorate in (*declared.parameters, common_options)[::-1]:
        function = decorate(function)
    text = inspect.cleandoc(declared.run.__doc__ or "")
    return click.command(declared.name, context_settings=HELP_FLAGS, help=text)(function)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Raises a `UsageProblem` as click's error, to which click adds how the command is called."""
    try:
        yield
    except UsageProblem as problem:
        raise click.UsageError(str(problem)) from None


def _for_click(attributes: dict[str, Any]) -> dict[str, Any]:
    kind = attributes.get("type")
    return {**attributes, "type": _click_type(kind)} if kind is not None else dict(attributes)


def _click_type(kind: Any) -> Any:
    if isinstance(kind, WholeNumber):
        return click.IntRange(kind.least, kind.most)
    if isinstance(kind, FileName):
        return click.Path(exists=kind.is_folder, file_okay=not kind.is_folder, readable=False)
    if not inspect.isfunction(kind):
        return kind

    @functools.wraps(kind)
    def convert(text: str) -> object:
        try:
            return kind(text)
        except BadValue as problem:
            raise click.BadParameter(str(problem)) from None

    return convert
