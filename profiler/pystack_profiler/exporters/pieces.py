"""Writes JSON piece by piece, so that a file is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TextIO

_ITEMS_PER_WRITE = 4096


def write_array(stream: TextIO, items: Iterable[str]) -> None:
    """Writes a JSON array. The items are already JSON."""
    iterator = iter(items)
    stream.write("[" + ",".join(islice(iterator, _ITEMS_PER_WRITE)))
    while chunk := list(islice(iterator, _ITEMS_PER_WRITE)):
        stream.write("," + ",".join(chunk))
    stream.write("]")


def write_numbers(stream: TextIO, numbers: Iterable[int]) -> None:
    write_array(stream, map(str, numbers))


def milliseconds(time_ns: int) -> str:
    """A time as an exact JSON number of milliseconds."""
    return f"{time_ns // 1_000_000}.{time_ns % 1_000_000:06d}"
