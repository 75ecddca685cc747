"""Reads usual command lines without click.

It understands a part of what click does, and that part alike. Where it is in doubt, it gives up and click has
the word: for help, for errors, and for words that only click understands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from pystack.cli.declare import (
    Argument,
    Command,
    FileName,
    Option,
    OptionGroup,
    Settings,
    UsageProblem,
    WholeNumber,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from pystack.named_tuple import NamedTuple


class Invocation(NamedTuple):
    """A command with its arguments."""

    command: Command
    settings: Settings
    values: dict[str, Any]

    def run(self) -> int:
        """Returns the exit status. Raises UsageProblem before anything is done."""
        return self.command.run(self.settings, **self.values)


class _GivenUp(Exception):
    """Click must read these words."""


def parse(
    command: Command, words: Sequence[str], common: Sequence[Option], settings: Settings
) -> Invocation | None:
    """The invocation of a command by the words after its name; None if click must read them.

    `common` are options of all commands, which go into the settings.
    """
    try:
        return _Words(command, common).read(words, settings)
    except (_GivenUp, UsageProblem):
        return None


class _Words:
    def __init__(self, command: Command, common: Sequence[Option]) -> None:
        self._command = command
        self._options = [*command.options(), *common]
        # Each name, and the value that it stands for if it takes none.
        self._by_name: dict[str, tuple[Option, bool]] = {}
        self._given: dict[str, Any] = {}
        for option in self._options:
            for name in option.names:
                positive, _, negative = name.partition("/")
                self._by_name[positive.strip()] = option, True
                if negative:
                    self._by_name[negative.strip()] = option, False

    def read(self, words: Sequence[str], settings: Settings) -> Invocation:
        self._set_arguments(list(self._take_options(iter(words))))
        values = {}
        for option in self._options:
            value = self._given.get(option.key, _default(option))
            if option.into is not None:
                option.into(settings, value)
            elif option.attributes.get("expose_value", True):
                values[option.key] = value
        for parameter in self._command.parameters:
            if isinstance(parameter, Argument):
                values[parameter.key] = self._given[parameter.key]
        for parameter in self._command.parameters:
            if isinstance(parameter, OptionGroup):
                parameter.collect(values)
        return Invocation(self._command, settings, values)

    def _take_options(self, words: Iterator[str]) -> Iterator[str]:
        """Notes the options and yields the other words."""
        for word in words:
            if word == "--":
                yield from words
            elif len(word) < 2 or word[0] != "-":
                yield word
            elif word.startswith("--"):
                name, equals, text = word.partition("=")
                self._note(name, text if equals else None, words)
            else:
                for letter in word[1:]:
                    # A cluster such as -vn. One with a value, such as -p7, is left to click.
                    self._note("-" + letter, None, words if len(word) == 2 else iter(()))

    def _note(self, name: str, text: str | None, following: Iterator[str]) -> None:
        if name not in self._by_name:
            raise _GivenUp
        option, switch = self._by_name[name]
        if _is_switch(option):
            if text is not None:
                raise _GivenUp
            if option.attributes.get("count"):
                self._given[option.key] = self._given.get(option.key, 0) + 1
            else:
                self._given[option.key] = switch
            return
        if text is None:
            text = next(following, "-")
            if text.startswith("-"):
                raise _GivenUp
        value = _converted(option.attributes.get("type"), text)
        if option.attributes.get("multiple"):
            self._given[option.key] = (*self._given.get(option.key, ()), value)
        else:
            self._given[option.key] = value

    def _set_arguments(self, words: list[str]) -> None:
        for parameter in self._command.parameters:
            if not isinstance(parameter, Argument):
                continue
            kind = parameter.attributes.get("type")
            if parameter.attributes.get("nargs") == -1:
                self._given[parameter.key] = tuple([_converted(kind, word) for word in words])
                words = []
            elif words:
                self._given[parameter.key] = _converted(kind, words.pop(0))
            elif parameter.attributes.get("required", True):
                raise _GivenUp
            else:
                self._given[parameter.key] = None
        if words:
            raise _GivenUp


def _is_switch(option: Option) -> bool:
    attributes = option.attributes
    return bool(
        attributes.get("is_flag") or attributes.get("count") or any("/" in n for n in option.names)
    )


def _default(option: Option) -> Any:
    attributes = option.attributes
    if "default" in attributes:
        return attributes["default"]
    if attributes.get("multiple"):
        return ()
    if attributes.get("count"):
        return 0
    return False if attributes.get("is_flag") else None


def _converted(kind: Any, text: str) -> object:
    if kind is None:
        return text
    if isinstance(kind, FileName):
        if kind.is_folder and not os.path.isdir(text):  # noqa: PTH112 (start-up time)
            raise _GivenUp
        return text
    if isinstance(kind, WholeNumber):
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise _GivenUp
        number = int(text)
        if number < kind.least or (kind.most is not None and number > kind.most):
            raise _GivenUp
        return number
    value: object = kind(text)
    return value
