"""Parses rates, durations and shares. Each function is a click type."""

from __future__ import annotations

import re

import click

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m)?(?:hz)?", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:ms|s|m|h)\s*)+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", re.ASCII)
_HERTZ = {"": 1.0, "k": 1e3, "m": 1e6}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(%)?", re.ASCII)


def rate(text: str) -> float:
    """Converts `100`, `99.5`, `1kHz` or `10k` to samples per second."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a rate; write it like 100, 1kHz or 10k.")
    rate_hz = float(match[1]) * _HERTZ[(match[2] or "").lower()]
    if not 0.01 <= rate_hz <= 1e6:
        raise click.BadParameter(f"{text!r} is not between 0.01 Hz and 1 MHz.")
    return rate_hz


def duration(text: str) -> float | None:
    """Converts `30`, `30s`, `500ms`, `1m30s` or `1h` to seconds, and `unlimited` to None."""
    text = text.strip()
    if text == "unlimited":
        return None
    seconds = 0.0
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(
            float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text)
        )
    if not seconds:
        raise click.BadParameter(
            f"{text!r} is not a duration; write it like 30, 30s, 500ms, 1m30s, 1h or unlimited."
        )
    return seconds


def share(text: str) -> float:
    """Converts `20%` or `0.2` to a share of one CPU, up to 1."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0.001 <= value <= 1:
        raise click.BadParameter(
            f"{text!r} is not a share between 0.1% and 100%; write it like 20%."
        )
    return value
