"""Command lines that are read without click mean what click says they mean."""

from __future__ import annotations

import random
from typing import Any

import click
import pytest

from pystack.cli.click_commands import click_command
from pystack.cli.core import core
from pystack.cli.declare import Command, FileName, Option, Settings, WholeNumber
from pystack.cli.dump import dump
from pystack.cli.options import COMMON_OPTIONS
from pystack.cli.quantities import pid, seconds, size
from pystack.cli.quick_parse import parse

Meaning = tuple[dict[str, Any], int, bool]

# Good values, and some that only click can refuse.
VALUES: dict[Any, tuple[str, ...]] = {
    None: ("x", "", "a=b", "-", "-x", "--", "ü"),
    pid: ("1", "0x7", "4711", "0", "x", "-1"),
    size: ("64K", "1M", "8", "x", "-1"),
    seconds: ("30", "1m30s", "soon"),
    FileName(): ("core.1", "/", "-", "--x"),
    FileName(is_folder=True): ("/", "/nowhere", "/etc/passwd"),
}


def values_of(kind: Any) -> tuple[str, ...]:
    if isinstance(kind, WholeNumber):
        return (str(kind.least), "7", "-1", "1e3", "٣", "99999999999", "0")
    return VALUES[kind]


def quickly(command: Command, words: list[str]) -> Meaning | None:
    settings = Settings()
    found = parse(command, words, COMMON_OPTIONS, settings)
    return found and (found.values, settings.verbosity, settings.no_color)


def by_click(command: Command, words: list[str]) -> Meaning | None:
    """None if click refuses, or shows the help."""
    called: list[Meaning] = []

    def note(settings: Settings, /, **values: Any) -> int:
        called.append((values, settings.verbosity, settings.no_color))
        return 0

    try:
        click_command(command._replace(run=note)).main(words, standalone_mode=False)
    except click.UsageError:
        return None
    return called[0] if called else None


def words_for(option: Option, chance: random.Random) -> list[str]:
    name = chance.choice(
        [part for names in option.names for part in names.split("/") if "-" in part]
    )
    attributes = option.attributes
    if attributes.get("is_flag") or attributes.get("count") or "/" in option.names[0]:
        return [chance.choice([name, name, name + "=1", name[:-1]])]
    value = chance.choice(values_of(attributes.get("type")))
    return chance.choice([[name, value], [f"{name}={value}"], [name + value], [name]])


@pytest.mark.parametrize("command", [dump, core], ids=lambda command: command.name)
def test_it_agrees_with_click(command: Command) -> None:
    chance = random.Random(1)
    options = [*command.options(), *COMMON_OPTIONS]
    free = ["1", "core.1", "x", "--", "-", "-vn", "-vvl", "-h", "--version", "--nope", "-p7", "-ns"]
    agreed = 0
    for _ in range(700):
        parts = [words_for(chance.choice(options), chance) for _ in range(chance.randint(0, 3))]
        parts += [[chance.choice(free)] for _ in range(chance.randint(0, 2))]
        chance.shuffle(parts)
        words = [word for part in parts for word in part]
        quick = quickly(command, words)
        if quick is not None:
            assert quick == by_click(command, words), words
            agreed += 1
    assert agreed > 70


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (dump, "4711"),
        (dump, "4711 --json"),
        (dump, "-vn 0x7 8 --no-tasks"),
        (dump, "-p 7 --locals --max-items 3 --redact a --redact=b --max-memory 1M"),
        (dump, "--watch 3s --rounds=4 7 --no-color --full"),
        (core, "core.1"),
        (core, "core.1 /usr/bin/python3 --native --no-debuginfod -v"),
        (core, "--source-root / -- -core"),
    ],
)
def test_usual_lines_need_no_click(command: Command, line: str) -> None:
    quick = quickly(command, line.split())
    assert quick is not None
    assert quick == by_click(command, line.split())


@pytest.mark.parametrize("command", [dump, core], ids=lambda command: command.name)
def test_parameters_have_the_names_that_click_gives(command: Command) -> None:
    names = [parameter.name for parameter in click_command(command).params]
    keys = [one.key for one in (*command.options(), *COMMON_OPTIONS)]
    assert sorted(keys) == sorted(set(names) - {"pids", "file", "executable"})
