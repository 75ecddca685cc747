"""Parses rates, durations and shares. Each function is the type of an option."""

from __future__ import annotations

import re

from pystack.cli.declare import BadValue
from pystack.cli.quantities import seconds

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m)?(?:hz)?", re.IGNORECASE | re.ASCII)
_HERTZ = {"": 1.0, "k": 1e3, "m": 1e6}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(%)?", re.ASCII)


def rate(text: str) -> float:
    """Converts `100`, `99.5`, `1kHz` or `10k` to samples per second."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise BadValue(f"{text!r} is not a rate; write it like 100, 1kHz or 10k.")
    rate_hz = float(match[1]) * _HERTZ[(match[2] or "").lower()]
    if not 0.01 <= rate_hz <= 1e6:
        raise BadValue(f"{text!r} is not between 0.01 Hz and 1 MHz.")
    return rate_hz


def duration(text: str) -> float | None:
    """Converts `30`, `30s`, `500ms`, `1m30s` or `1h` to seconds, and `unlimited` to None."""
    if text.strip() == "unlimited":
        return None
    return seconds(text, " or unlimited")


def share(text: str) -> float:
    """Converts `20%` or `0.2` to a share of one CPU, up to 1."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0.001 <= value <= 1:
        raise BadValue(f"{text!r} is not a share between 0.1% and 100%; write it like 20%.")
    return value
