"""Targets whose structures are made so that reading them takes as long as possible.

The bounds are in CPU time: a busy machine is slow, but it does not make the tool work more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from marks import each_of
from security.fuzz_live import chosen_interpreters
from security.meter import MOST_MEMORY, measured
from security.structures import WORD, Region, Structures, structured_target, word
from targets import Interpreter

pytestmark = pytest.mark.live

_MOST_CPU_S = 5.0
_FRAMES = ("frame", "frame object")


class _Memory:
    """That of a process, to be read and written."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/mem")

    def read(self, address: int, size: int) -> bytes:
        with self._path.open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)

    def write(self, address: int, content: bytes) -> None:
        with self._path.open("r+b", buffering=0) as memory:
            memory.seek(address)
            assert memory.write(content) == len(content)


def _links(structures: Structures, memory: _Memory) -> Iterator[tuple[Region, int]]:
    """The frames with a caller, and where they point to it."""
    frames = [region for region in structures.regions if region.kind in _FRAMES]
    for region in frames:
        callers = {each.address for each in frames if each.kind == region.kind}
        words = struct.unpack(
            f"<{region.size // WORD}Q", memory.read(region.address, region.size // WORD * WORD)
        )
        for index, value in enumerate(words):
            if value in callers and value != region.address:
                yield region, index * WORD
                break


def _forge_a_ring(structures: Structures, memory: _Memory) -> None:
    """As many frames as there is room for, one below the other, called by each real frame."""
    links = list(_links(structures, memory))
    region, offset = links[0]
    begin, size = structures.arena
    content = memory.read(region.address, region.size)
    count = size // region.size
    forged = bytearray(content * count)
    for index in range(count):
        caller = begin + (index - 1) % count * region.size
        struct.pack_into("<Q", forged, index * region.size + offset, caller)
    memory.write(begin, bytes(forged))
    for each, at in links:
        memory.write(each.address + at, word(begin + (count - 1) * region.size))


@each_of(chosen_interpreters())
@pytest.mark.parametrize("options", [("--no-block",), (), ("--locals",)], ids=str)
def test_a_ring_of_frames(
    interpreter: Interpreter, options: tuple[str, ...], tmp_path: Path
) -> None:
    with structured_target(interpreter, tmp_path) as (target, structures):
        _forge_a_ring(structures, _Memory(target.pid))
        run = measured("dump", "--full", *options, target.pid)
    assert run.status == 0, run.stderr
    assert run.cpu_s < _MOST_CPU_S
    assert run.peak_mib < MOST_MEMORY


@each_of(chosen_interpreters())
def test_a_search_in_memory_full_of_pointers(interpreter: Interpreter, tmp_path: Path) -> None:
    with structured_target(interpreter, tmp_path) as (target, structures):
        memory = _Memory(target.pid)
        for region in structures.regions:
            if region.kind == "runtime":
                memory.write(region.address, bytes(region.size))
        begin, size = structures.arena
        addresses = range(begin, begin + size, WORD)
        memory.write(begin, struct.pack(f"<{len(addresses)}Q", *reversed(addresses)))
        run = measured("dump", "--exhaustive", target.pid)
    assert run.status in (0, 3), run.stderr
    assert run.cpu_s < _MOST_CPU_S
    assert run.peak_mib < MOST_MEMORY
