"""What an interpreter was told to run, by its command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple


class Told(NamedTuple):
    what: Literal["module", "code", "script", "input"]
    text: str = ""  # the module's name, the code, or the script's path
    place: int = 0  # of the script in the command line; 0: there is none


def told(command: Sequence[str]) -> Told:
    """The options of `python --help`, as CPython reads them [Python/getopt.c, initconfig.c]."""
    words = iter(enumerate(command[1:], 1))
    for place, word in words:
        if word == "-":
            return Told("input")
        if not word.startswith("-"):
            return Told("script", word, place)
        if word == "--":
            place, word = next(words, (0, ""))
            return Told("script", word, place) if place else Told("input")
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, None)
            continue
        for position, letter in enumerate(word[1:], 2):
            if letter in "mc":
                text = word[position:] or next(words, (0, ""))[1]
                return Told("module" if letter == "m" else "code", text)
            if letter in "WX":
                if not word[position:]:
                    next(words, None)
                break
    return Told("input")
