"""Process ids, rates, durations and sizes as people type them; each function is a click type."""

from __future__ import annotations

import re

import click

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m)?(?:hz)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", re.ASCII)
_HERTZ = {"": 1.0, "k": 1e3, "m": 1e6}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LARGEST_PID = 2**31 - 1


def pid(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or not 0 < int(text) <= _LARGEST_PID:
        raise click.BadParameter(
            f"{text!r} is not a process id. To record a command, put `--` before it."
        )
    return int(text)


def rate(text: str) -> float:
    """`100`, `99.5`, `1kHz`, `10k`: in samples per second."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a rate; write it like 100, 1kHz or 10k.")
    rate_hz = float(match[1]) * _HERTZ[(match[2] or "").lower()]
    if not 0.01 <= rate_hz <= 1e6:
        raise click.BadParameter(f"{text!r} is not between 0.01 Hz and 1 MHz.")
    return rate_hz


def duration(text: str) -> float:
    """`30`, `30s`, `500ms`, `5m`, `1h`: in seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise click.BadParameter(
            f"{text!r} is not a duration; write it like 30, 30s, 500ms, 5m or 1h."
        )
    return float(match[1]) * _SECONDS[match[2] or "s"]


def size(text: str) -> int:
    """`65536`, `64K`, `1M`, `8MiB`: in bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or not int(match[1]) or len(match[1]) > 12:
        raise click.BadParameter(f"{text!r} is not a size; write it like 65536, 64K or 1M.")
    return int(match[1]) * _BYTES[match[2].lower()]
