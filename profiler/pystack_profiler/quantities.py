"""Parses process IDs, rates, durations and shares. Each function is a click type."""

from __future__ import annotations

import re

import click

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m)?(?:hz)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", re.ASCII)
_HERTZ = {"": 1.0, "k": 1e3, "m": 1e6}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(%)?", re.ASCII)
_LARGEST_PID = 2**31 - 1


def pid(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or not 0 < int(text) <= _LARGEST_PID:
        raise click.BadParameter(
            f"{text!r} is not a process ID. To record a command, put `--` before it."
        )
    return int(text)


def rate(text: str) -> float:
    """Converts `100`, `99.5`, `1kHz` or `10k` to samples per second."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a rate; write it like 100, 1kHz or 10k.")
    rate_hz = float(match[1]) * _HERTZ[(match[2] or "").lower()]
    if not 0.01 <= rate_hz <= 1e6:
        raise click.BadParameter(f"{text!r} is not between 0.01 Hz and 1 MHz.")
    return rate_hz


def duration(text: str) -> float:
    """Converts `30`, `30s`, `500ms`, `5m` or `1h` to seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise click.BadParameter(
            f"{text!r} is not a duration; write it like 30, 30s, 500ms, 5m or 1h."
        )
    return float(match[1]) * _SECONDS[match[2] or "s"]


def share(text: str) -> float:
    """Converts `20%` or `0.2` to a share of one CPU, up to 1."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0.001 <= value <= 1:
        raise click.BadParameter(
            f"{text!r} is not a share between 0.1% and 100%; write it like 20%."
        )
    return value
