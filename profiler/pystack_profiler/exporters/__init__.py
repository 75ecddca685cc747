"""The files a profile can become: one function each, from a profile to a text stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TextIO

from ..grouping import Granularity
from ..profile import Profile
from . import folded, speedscope


class Export(Protocol):
    def __call__(
        self, profile: Profile, stream: TextIO, *, granularity: Granularity = "function"
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    aliases: tuple[str, ...]
    suffixes: tuple[str, ...]
    export: Export
    how_to_open: str  # `{path}` stands for the file


FORMATS = (
    Format(
        "speedscope",
        (),
        (".json",),
        speedscope.export,
        "npx speedscope {path}, or drag it to https://www.speedscope.app (nothing is uploaded)",
    ),
    Format(
        "folded",
        ("collapsed", "raw"),
        (".txt", ".folded", ".collapsed"),
        folded.export,
        "flamegraph.pl {path} > flame.svg, or drag it to https://www.speedscope.app",
    ),
)


def by_name(name: str) -> Format | None:
    return next((known for known in FORMATS if name in (known.name, *known.aliases)), None)


def by_suffix(path: str) -> Format | None:
    lowered = path.lower()
    return next((known for known in FORMATS if lowered.endswith(known.suffixes)), None)
