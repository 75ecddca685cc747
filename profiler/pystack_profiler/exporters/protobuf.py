"""The parts of the protocol buffer format that are written here (numbers, texts, messages, lists of numbers), and
the one answer that is read."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

_VARINT, _FIXED_64, _BYTES = 0, 1, 2


def varint(number: int) -> bytes:
    """Negative numbers are those of 64 bits."""
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def number_field(field: int, number: int) -> bytes:
    """Nothing for 0, which is the default."""
    return varint(field << 3 | _VARINT) + varint(number) if number else b""


def bytes_field(field: int, content: bytes) -> bytes:
    """A text or a message, which can be empty."""
    return varint(field << 3 | _BYTES) + varint(len(content)) + content


def numbers_field(field: int, numbers: Iterable[int]) -> bytes:
    """A packed list."""
    packed = b"".join(map(varint, numbers))
    return bytes_field(field, packed) if packed else b""


def fixed_field(field: int, number: int) -> bytes:
    """A number of always 64 bits; nothing for 0."""
    return varint(field << 3 | _FIXED_64) + struct.pack("<Q", number) if number else b""


def fixed_numbers_field(field: int, numbers: Sequence[int]) -> bytes:
    """A packed list of such numbers."""
    packed = struct.pack(f"<{len(numbers)}Q", *numbers)
    return bytes_field(field, packed) if packed else b""


def rejected_profiles(answer: bytes) -> tuple[int, str] | None:
    """How many profiles an `ExportProfilesServiceResponse` says were rejected, and why. None: none, or
    it says something else."""
    try:
        partial = _fields(answer).get(1, b"")
        fields = _fields(partial) if isinstance(partial, bytes) else {}
    except (IndexError, ValueError):
        return None
    count, reason = fields.get(1, 0), fields.get(2, b"")
    if not isinstance(count, int) or not isinstance(reason, bytes) or not count:
        return None
    return count, reason.decode("utf-8", "replace")


def _fields(message: bytes) -> dict[int, int | bytes]:
    """The last value of each field. Raises IndexError or ValueError."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        found[key >> 3] = value
        if key & 7 == _BYTES:
            found[key >> 3] = message[at : at + value]
            at += value
        elif key & 7 != _VARINT:
            raise ValueError("a field of another type")
    return found


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number is too long")
