"""The size of a core file by its own headers; data after it does not belong to the core.

The offsets are those of Elf64_Ehdr and Elf64_Phdr (elf(5)).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

#: Returns the bytes at an offset, as many as exist.
Read = Callable[[int, int], bytes]

_HEADER_BYTES = 64
_SEGMENT_BYTES = 56
_CORE = 4  # ET_CORE
_MANY_SEGMENTS = 0xFFFF  # PN_XNUM: the number is in another place, perhaps at the end


def core_size(read: Read, available: int) -> int | None:
    """Returns the size, or None if it is unknown or too few bytes are `available` so far.

    For a file that is not a 64-bit core it is `available`: no more is needed to reject the file.
    """
    header = read(0, _HEADER_BYTES)
    if available < _HEADER_BYTES:
        return None
    header = header.ljust(_HEADER_BYTES, b"\0")
    if header[:6] != b"\x7fELF\x02\x01":
        return available
    (
        kind,
        *_,
        segments_at,
        sections_at,
        _,
        _,
        segment_bytes,
        segments,
        section_bytes,
        sections,
        _,
    ) = struct.unpack("<HHIQQQIHHHHHH", header[16:])
    if kind != _CORE:
        return available
    if segment_bytes != _SEGMENT_BYTES or segments == _MANY_SEGMENTS:
        return None
    end = segments_at + segments * _SEGMENT_BYTES
    if available < end:
        return None
    table = read(segments_at, segments * _SEGMENT_BYTES)
    if len(table) < segments * _SEGMENT_BYTES:
        return None
    for _, _, offset, _, _, size, _, _ in struct.iter_unpack("<IIQQQQQQ", table):
        end = max(end, offset + size)
    return int(max(end, sections_at + sections * section_bytes))
