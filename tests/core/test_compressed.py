"""Compressed cores through the command: the same answer, and nothing left behind in any case."""

from __future__ import annotations

import gzip
import importlib
import lzma
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core_files import core_json, failure_of, need_kernel_cores, small_core
from interpreters import available
from process_state import wait_until
from tool_runs import TOOL, TOOL_FOLDER, run_tool

pytestmark = pytest.mark.live

FORMATS = ("gzip", "zstd", "lz4", "xz")
MIB = 1 << 20
#: Of an ELF core of a 64-bit process that does not say how long it is (PN_XNUM), so it has no end.
ENDLESS = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
    "<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 0xFFFF, 64, 0, 0
)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need_kernel_cores()
    # With files at their places, and without the gigabyte of heap that comes without a GIL.
    interpreter = [one for one in available() if one.root is None and not one.free_threaded][-1]
    path = small_core(interpreter, tmp_path_factory.mktemp("core"))
    yield path
    path.unlink()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tool unpacks to."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def compress(kind: str, data: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, compresslevel=1)
    if kind == "xz":
        return lzma.compress(data, preset=0)
    if kind == "lz4":
        return bytes(importlib.import_module("lz4.frame").compress(data))
    try:
        zstd: Any = importlib.import_module("compression.zstd")
    except ImportError:
        zstd = importlib.import_module("backports.zstd")
    return bytes(zstd.compress(data))


@pytest.mark.parametrize("kind", FORMATS)
def test_same_as_plain(kind: str, core: Path, folder: Path, tmp_path: Path) -> None:
    # The kind is told by the first bytes and not by the name.
    path = tmp_path / "core.python.1000"
    path.write_bytes(compress(kind, core.read_bytes()))
    os.utime(path, (1_600_000_000, 1_600_000_000))
    plain, unpacked = core_json(core), core_json(path)
    assert unpacked["core"].pop("path") == str(path)
    assert unpacked["core"].pop("compression") == kind
    assert unpacked["core"].pop("written_ns") == 1_600_000_000 * 10**9
    assert plain["core"].pop("compression") is None
    assert unpacked["time"] == "2020-09-13T12:26:40.000000Z"
    for name in ("path", "written_ns"):
        del plain["core"][name]
    for document in (plain, unpacked):
        del document["time"], document["time_ns"]
    assert unpacked == plain
    text = run_tool("core", path)
    assert text.stdout.startswith(f"Core {path} of process {plain['pid']}: CPython ")
    assert text.stderr == ""
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_off(kind: str, core: Path, folder: Path, tmp_path: Path) -> None:
    data = compress(kind, core.read_bytes())
    path = tmp_path / "core.compressed"
    path.write_bytes(data[: len(data) // 4])
    status, sentence = failure_of(path)
    assert status == 1
    assert "bytes are missing" in sentence
    path.write_bytes(data[:-200])
    done = run_tool("core", path, "--json")
    if done.returncode == 0:
        assert f" bytes of {path} could be unpacked: the {kind} data is truncated" in done.stdout
    else:
        assert str(path) in done.stderr or "bytes are missing" in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_something_else_inside(kind: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "file.compressed"
    path.write_bytes(compress(kind, b"hello, world\n" * 1000))
    assert failure_of(path) == (*(1, f"{path} is {kind} data, but does not contain a core"),)
    path.write_bytes(compress(kind, Path("/proc/self/exe").read_bytes()))
    status, sentence = failure_of(path)
    assert status == 1
    # It is the user's file that is named, not the temporary one.
    assert sentence.startswith(f"{path} is an executable")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_while_it_unpacks(number: int, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "core.gz"
    noise = gzip.compress(ENDLESS + os.urandom(8 * MIB), compresslevel=1)
    with path.open("wb") as file:
        # Members that follow each other are one stream of 1 GiB.
        for _ in range(128):
            file.write(noise)
    with subprocess.Popen(
        [*TOOL, "core", path], cwd=TOOL_FOLDER, stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: has_file_in(process.pid, folder), "it unpacks")
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (-number, 128 + number)
    assert b"Traceback" not in errors
    assert list(folder.iterdir()) == []


def has_file_in(pid: int, folder: Path) -> bool:
    try:
        names = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return False
    return any(name.startswith(f"{folder}/") for name in names)


def test_disk_too_small(folder: Path, tmp_path: Path) -> None:
    """Known before a byte is written, where the file says how big it will be."""
    path = tmp_path / "core.zst"
    size = 1 << 53
    # A frame header with the size in 8 bytes [RFC 8878, 3.1.1.1].
    path.write_bytes(struct.pack("<IBBQ", 0xFD2FB528, 0xC0, 0x58, size) + bytes(100))
    done = run_tool("core", path)
    assert done.returncode == 1
    sentence, hint = done.stderr.splitlines()
    begin = f"pystack: not enough disk space in {folder} to unpack {path}: {size >> 20} MiB"
    assert sentence.startswith(begin)
    assert hint == "Set TMPDIR to a folder on a larger disk."
    assert list(folder.iterdir()) == []
