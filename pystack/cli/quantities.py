"""Parses process IDs, sizes such as 64K and times such as 1m30s. Each parser is the type of an option."""

from __future__ import annotations

from pystack.cli.declare import BadValue

_PID = r"0x[0-9a-f]{1,16}|\d{1,16}"
_SIZE = r"(\d+)\s*([kmg]?)(?:i?b)?"
_NUMBER = r"\d+(?:\.\d+)?"
_TIME_PART = rf"({_NUMBER})\s*(ms|s|m|h)"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def is_pid(text: str) -> bool:
    if text.isascii() and text.isdigit():
        return len(text) <= 16
    import re  # Slow to import, and most process IDs are decimal.

    return re.fullmatch(_PID, text, re.IGNORECASE | re.ASCII) is not None


def pid(text: str) -> int:
    """Converts `4711` or `0x1267` to a process ID, which need not exist."""
    number = int(text, 16 if text[:2] in ("0x", "0X") else 10) if is_pid(text) else 0
    if not number:
        raise BadValue(
            f"{text!r} is not a process ID. Look it up with `ps -ef` or `pgrep -f NAME`."
        )
    return number


def size(text: str) -> int:
    """Converts `65536`, `64K`, `1M` or `8MiB` to bytes."""
    import re

    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    if match is None or not int(match[1]) or len(match[1]) > 12:
        raise BadValue(f"{text!r} is not a size; write it like 65536, 64K or 1M.")
    return int(match[1]) * _BYTES[match[2].lower()]


def seconds(text: str, others: str = "") -> float:
    """Converts `30`, `30s`, `500ms`, `1m30s` or `1h` to seconds. `others` are for the error's text."""
    import re

    text = text.strip()
    total = 0.0
    if re.fullmatch(_NUMBER, text, re.ASCII):
        total = float(text)
    elif re.fullmatch(rf"(?:{_TIME_PART}\s*)+", text, re.ASCII):
        parts = re.findall(_TIME_PART, text, re.ASCII)
        total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not total:
        raise BadValue(
            f"{text!r} is not a duration; write it like 30, 30s, 500ms, 1m30s, 1h{others}."
        )
    return total
