"""Names and places of functions, as short as tells their files apart."""

from __future__ import annotations

from collections.abc import Iterable

from ..grouping import FrameLabel
from ..short_paths import short_paths

#: The target chooses names; longer ones fill no line any better.
LONGEST = 300


class Places:
    """Short file names are those among all files that were shown so far."""

    def __init__(self) -> None:
        self._short: dict[str, str] = {}

    def know(self, labels: Iterable[FrameLabel]) -> None:
        new = {label.file for label in labels if label.file} - self._short.keys()
        if new:
            self._short = short_paths([*self._short, *new])

    def name(self, label: FrameLabel) -> str:
        short = self._short.get(label.file, label.file)
        return label._replace(short_file=short[-LONGEST:]).name[:LONGEST]

    def of(self, label: FrameLabel, line: int | None) -> str:
        """`app.py:41`."""
        if not label.file:
            return ""
        short = self._short.get(label.file, label.file)[-LONGEST:]
        return short if line is None else f"{short}:{line}"
