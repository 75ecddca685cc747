"""Compressed cores that become a thousand times as big: they cost neither the disk nor the time."""

from __future__ import annotations

import gzip
import lzma
import struct
from functools import cache
from pathlib import Path

import pytest

from pystack.core_unpack import unpack
from pystack.errors import CoreError
from tool_runs import run_tool

MIB = 1 << 20
GIB = 1 << 30
BLOCK = 64 * MIB


def elf_core(segments: list[tuple[int, int]], **fields: int) -> bytes:
    """The headers of a core with segments at (offset, size)."""
    header = struct.pack(
        "<4sBBBBQHHIQQQIHHHHHH",
        *(b"\x7fELF", 2, 1, 1, 0, 0),
        *(fields.get("kind", 4), 62, 1, 0, 64, fields.get("sections_at", 0), 0, 64),
        fields.get("segment_bytes", 56),
        *(fields.get("count", len(segments)), 64, fields.get("sections", 0), 0),
    )
    table = b"".join(
        struct.pack("<IIQQQQQQ", 1, 6, offset, 0x400000, 0, size, size, 1)
        for offset, size in segments
    )
    return header + table


@cache
def packed_block() -> bytes:
    return gzip.compress(bytes(BLOCK), 9)


def packed(head: bytes, zeros: int) -> bytes:
    """Gzip members follow each other as one stream; so much is made quickly."""
    return gzip.compress(head) + packed_block() * (zeros // BLOCK)


def test_what_follows_the_core_is_not_unpacked(tmp_path: Path) -> None:
    head = elf_core([(4096, MIB), (8192, 100)])
    path = tmp_path / "core.gz"
    path.write_bytes(packed(head, 24 * GIB))
    steps: list[tuple[int, int, int]] = []
    with unpack(path, progress=lambda *step: steps.append(step)) as core:
        # A piece of the stream more, at most.
        assert 4096 + MIB <= core.size <= 4 * MIB
        assert core.problem is None
        assert Path(core.path).read_bytes()[: len(head)] == head
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize(
    "head",
    [
        elf_core([(4096, 24 * GIB)]),
        elf_core([(4096, 4096), (1 << 63, 1 << 63)]),
        elf_core([], sections_at=1 << 62, sections=1),
    ],
)
def test_a_core_that_is_too_big_is_refused_at_once(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "core.gz"
    path.write_bytes(packed(head, 2 * BLOCK))
    unpacked = 0

    def progress(_: int, __: int, size: int) -> None:
        nonlocal unpacked
        unpacked = size

    with pytest.raises(CoreError, match="exceeds 2048 MiB") as failure:
        unpack(path, progress=progress)
    assert unpacked <= 2 * MIB
    assert failure.value.hint is not None
    assert "max_unpacked" in failure.value.hint


@pytest.mark.parametrize(
    "head",
    [
        elf_core([(4096, 4096)], count=0xFFFF),
        elf_core([(4096, 4096)], segment_bytes=0),
    ],
    ids=["count elsewhere", "strange segments"],
)
def test_without_a_known_end_there_is_the_limit(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "core.gz"
    path.write_bytes(packed(head, 4 * BLOCK))
    with pytest.raises(CoreError, match="exceeds 100 MiB"):
        unpack(path, max_bytes=100 * MIB)
    with unpack(path, max_bytes=4 * BLOCK + MIB) as core:
        assert core.size == 4 * BLOCK + len(head)
        # Zeros take no space.
        assert Path(core.path).stat().st_blocks * 512 < MIB


@pytest.mark.parametrize(
    "head",
    [b"\x7fELF" + bytes(4096), elf_core([(4096, 24 * GIB)], kind=3)],
    ids=["zeros", "library"],
)
def test_what_is_no_core_is_not_unpacked(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "core.gz"
    path.write_bytes(packed(head, 24 * GIB))
    with unpack(path) as core:
        assert core.size <= 2 * MIB


def test_the_limit_grows_with_the_file(tmp_path: Path) -> None:
    """200 times its size, if that is more than 2 GiB."""
    path = tmp_path / "core.xz"
    path.write_bytes(lzma.compress(elf_core([(4096, 3 * GIB)]), preset=0))
    with pytest.raises(CoreError, match="exceeds 2048 MiB"):
        unpack(path)
    with path.open("ab") as file:
        file.truncate(16 * MIB)  # Padding, as xz allows it.
    with unpack(path) as core:
        assert core.size == len(elf_core([(4096, 3 * GIB)]))


def test_the_command_has_an_option_for_it(tmp_path: Path) -> None:
    path = tmp_path / "core.gz"
    path.write_bytes(packed(elf_core([(4096, 3 * GIB)]), BLOCK))
    done = run_tool("core", path)
    assert done.returncode == 1
    sentence, hint = done.stderr.splitlines()
    assert sentence.startswith(f"pystack: {path} exceeds 2048 MiB")
    assert hint == "Raise the limit with --max-unpacked SIZE, if you trust its author."
    done = run_tool("core", path, "--max-unpacked", "4G")
    assert "exceeds" not in done.stderr
