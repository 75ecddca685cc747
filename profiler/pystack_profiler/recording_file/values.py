"""How values of Python are stored: what SQLite has no type for, and the facts of a recording."""

from __future__ import annotations

import json
from dataclasses import fields
from math import isfinite
from typing import Any

from ..profile import Recording

#: Times and counts in a file are less: 146 years in nanoseconds, so sums of a few stay within 64 bits.
MOST_NS = 1 << 62

_SIGN = 1 << 63
_FACTS = [one.name for one in fields(Recording) if one.name != "profiles"]


def signed(number: int) -> int:
    """An unsigned number of 64 bits as SQLite keeps it."""
    return number - 2 * _SIGN if number >= _SIGN else number


def unsigned(number: int) -> int:
    return number + 2 * _SIGN if number < 0 else number


def text_or_bytes(text: str) -> str | bytes:
    """SQLite takes no text with lone surrogates, which names of files can have; it is kept as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def text_of(value: Any) -> str:
    """What `text_or_bytes` stored. Raises ValueError for anything else."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} instead of a text")
    return value


def texts_of(value: Any) -> tuple[str, ...]:
    """The texts of a JSON array."""
    texts = json.loads(text_of(value))
    if not isinstance(texts, list):
        raise ValueError("no array of texts")
    return tuple(map(text_of, texts))


def number_of(value: Any) -> int:
    """A count or a time. Raises ValueError for anything else."""
    if not isinstance(value, int) or not 0 <= value < MOST_NS:
        raise ValueError("a count or a time is out of range")
    return value


def facts_of(recording: Recording) -> dict[str, Any]:
    """The rows of `metadata`: all of a recording but its profiles."""
    facts: dict[str, Any] = {}
    for name in _FACTS:
        value = getattr(recording, name)
        if isinstance(value, tuple):
            value = json.dumps(value)
        elif isinstance(value, str):
            value = text_or_bytes(value)
        facts[name] = value
    return facts


def recording_of(facts: dict[str, Any]) -> Recording:
    """The recording without profiles. Unknown facts are ignored. Raises ValueError for wrong types."""
    recording = Recording(pid=0)
    for name in _FACTS:
        if name not in facts:
            continue
        value, default = facts[name], getattr(recording, name)
        if isinstance(default, tuple):
            value = texts_of(value)
        elif isinstance(default, str) or (name == "error" and value is not None):
            value = text_of(value)
        elif isinstance(default, bool):
            value = bool(value)
        elif isinstance(default, float):
            value = float(value)
            if not isfinite(value):
                raise ValueError(f"{name} is no number")
        elif default is not None:
            value = number_of(value)
        setattr(recording, name, value)
    return recording
