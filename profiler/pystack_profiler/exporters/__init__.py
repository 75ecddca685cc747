"""The files a recording can become: one function each, from a recording to a text stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TextIO

from ..profile import Recording
from ..view import DEFAULT_VIEW, View
from . import folded, html, speedscope


class Export(Protocol):
    def __call__(self, recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None: ...


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    aliases: tuple[str, ...]
    suffixes: tuple[str, ...]  # the first is that of files without a name of their own
    export: Export
    how_to_open: str  # `{path}` stands for the file


HTML = Format(
    "html",
    ("flamegraph",),
    (".html", ".htm"),
    html.export,
    "open {path} in a browser",
)
SPEEDSCOPE = Format(
    "speedscope",
    ("json",),
    (".json",),
    speedscope.export,
    "npx speedscope {path}, or drag it to https://www.speedscope.app (nothing is uploaded)",
)
FOLDED = Format(
    "folded",
    ("collapsed", "raw"),
    (".txt", ".folded", ".collapsed"),
    folded.export,
    "flamegraph.pl {path} > flame.svg, or drag it to https://www.speedscope.app",
)

FORMATS = (HTML, SPEEDSCOPE, FOLDED)
DEFAULT = HTML
DEFAULT_ON_STDOUT = SPEEDSCOPE


def by_name(name: str) -> Format | None:
    return next((known for known in FORMATS if name in (known.name, *known.aliases)), None)


def by_suffix(path: str) -> Format | None:
    lowered = path.lower()
    return next((known for known in FORMATS if lowered.endswith(known.suffixes)), None)
