"""Parses process IDs and sizes such as 64K. Each parser is a click type."""

from __future__ import annotations

import re

import click

_PID = r"0x[0-9a-f]{1,16}|\d{1,16}"
_SIZE = r"(\d+)\s*([kmg]?)(?:i?b)?"
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def is_pid(text: str) -> bool:
    return re.fullmatch(_PID, text, re.IGNORECASE | re.ASCII) is not None


def pid(text: str) -> int:
    """Converts `4711` or `0x1267` to a process ID, which need not exist."""
    number = int(text, 16 if text[:2] in ("0x", "0X") else 10) if is_pid(text) else 0
    if not number:
        raise click.BadParameter(
            f"{text!r} is not a process ID. Look it up with `ps -ef` or `pgrep -f NAME`."
        )
    return number


def size(text: str) -> int:
    """Converts `65536`, `64K`, `1M` or `8MiB` to bytes."""
    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    if match is None or not int(match[1]) or len(match[1]) > 12:
        raise click.BadParameter(f"{text!r} is not a size; write it like 65536, 64K or 1M.")
    return int(match[1]) * _BYTES[match[2].lower()]
