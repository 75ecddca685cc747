"""Damage to a core: to its headers and notes, and to the structures of the interpreter in it."""

from __future__ import annotations

import random
import struct

from core_files import PT_LOAD, Bytes, notes, program_headers
from security.structures import EDGES, SIZES, Change, Damage, Structures, word

HEADER_SHARE = 0.25
MAX_HEADER_CHANGES = 8
ELF_HEADER_FIELDS = (
    (0x20, "<Q"),
    (0x28, "<Q"),
    (0x34, "<H"),
    (0x36, "<H"),
    (0x38, "<H"),
    (0x3A, "<H"),
)
PROGRAM_HEADER_FIELDS = (*((0, "<I"), (4, "<I")), *((offset, "<Q") for offset in range(8, 56, 8)))
NOTE_FIELDS = ((-20, "<I"), (-16, "<I"), (-12, "<I"))  # before the content and the name "CORE"


class CoreDamage:
    """`draw` gives changes by offset in the file."""

    def __init__(self, data: Bytes, structures: Structures) -> None:
        self._data = data
        self._segments = [
            (address, offset, size)
            for _, (kind, _, offset, address, _, size, *_) in program_headers(data)
            if kind == PT_LOAD
        ]
        kept = [
            region
            for region in structures.regions
            if self._offset(region.address, region.size) is not None
        ]
        self._damage = Damage(structures._replace(regions=kept), self._read)

    def arena_content(self) -> list[Change]:
        return list(self._to_file(self._damage.arena_content))

    def draw(self, numbers: random.Random) -> list[Change]:
        if numbers.random() < HEADER_SHARE:
            return self._header_changes(numbers)
        return self._to_file(self._damage.draw(numbers))

    def _header_changes(self, numbers: random.Random) -> list[Change]:
        fields = [
            *((place, form) for place, form in ELF_HEADER_FIELDS),
            *(
                (place + offset, form)
                for place, _ in program_headers(self._data)
                for offset, form in PROGRAM_HEADER_FIELDS
            ),
        ]
        contents = list(notes(self._data))
        changes = []
        for _ in range(numbers.randint(1, MAX_HEADER_CHANGES)):
            if numbers.random() < 0.6:
                _, begin, size = numbers.choice(contents)
                note_fields = [(begin + offset, form) for offset, form in NOTE_FIELDS]
                words = [(begin + offset, "<Q") for offset in range(0, max(8, size - 7), 8)]
                place, form = numbers.choice(numbers.choice((note_fields, words[:32], words)))
            else:
                place, form = numbers.choice(fields)
            value = numbers.choice((*EDGES, *SIZES, numbers.getrandbits(64), len(self._data)))
            changes.append((place, word(value)[: struct.calcsize(form)]))
        return changes

    def _to_file(self, changes: list[Change]) -> list[Change]:
        moved = []
        for address, content in changes:
            offset = self._offset(address, len(content))
            if offset is not None:
                moved.append((offset, content))
        return moved

    def _offset(self, address: int, size: int) -> int | None:
        for begin, offset, length in self._segments:
            if begin <= address and address + size <= begin + length:
                return offset + address - begin
        return None

    def _read(self, address: int, size: int) -> bytes:
        offset = self._offset(address, size)
        assert offset is not None
        return bytes(self._data[offset : offset + size])
