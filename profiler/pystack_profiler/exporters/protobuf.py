"""The parts of the protocol buffer format that are written here: numbers, texts, messages, lists of numbers."""

from __future__ import annotations

from collections.abc import Iterable

_VARINT, _BYTES = 0, 2


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
