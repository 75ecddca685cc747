"""Parses sizes such as 64K."""

from __future__ import annotations

import re

import click

_SIZE = r"(\d+)\s*([kmg]?)(?:i?b)?"
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size(text: str) -> int:
    """Converts `65536`, `64K`, `1M` or `8MiB` to bytes."""
    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    if match is None or not int(match[1]) or len(match[1]) > 12:
        raise click.BadParameter(f"{text!r} is not a size; write it like 65536, 64K or 1M.")
    return int(match[1]) * _BYTES[match[2].lower()]
