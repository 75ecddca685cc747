"""The colours, and when to use them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, TextIO
else:
    from pystack.named_tuple import NamedTuple


class Palette(NamedTuple):
    """Escape sequences by meaning; all are empty without colour."""

    head: str = ""
    good: str = ""
    waiting: str = ""
    bad: str = ""
    name: str = ""
    dim: str = ""
    mark: str = ""
    reset: str = ""

    def paint(self, colour: str, text: str) -> str:
        """The text in one of these colours."""
        return f"{colour}{text}{self.reset}" if colour else text


PLAIN = Palette()
COLOURS = Palette(
    head="\x1b[1m",
    good="\x1b[32m",
    waiting="\x1b[33m",
    bad="\x1b[31m",
    name="\x1b[36m",
    dim="\x1b[2m",
    mark="\x1b[1;31m",
    reset="\x1b[0m",
)


def wants_colour(stream: TextIO | None, *, no_color: bool = False) -> bool:
    """`--no-color` and NO_COLOR win, then FORCE_COLOR and CLICOLOR_FORCE, then the terminal."""
    environment = os.environ
    if no_color or environment.get("NO_COLOR"):
        return False
    forced = (environment.get("FORCE_COLOR"), environment.get("CLICOLOR_FORCE"))
    if any(value not in (None, "", "0") for value in forced):
        return True
    if environment.get("TERM") == "dumb" or environment.get("CLICOLOR") == "0":
        return False
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
