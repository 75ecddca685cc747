"""Compressed cores: every format, damaged and cut data, small disks, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import gzip
import importlib
import lzma
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pystack import core_unpack, sparse_file
from pystack.core_unpack import compression_of, unpack
from pystack.errors import CoreTruncated, NotACore, PystackError, SystemFailure

MIB = 1 << 20
#: Of an ELF core of a 64-bit process that does not say how long it is (PN_XNUM), so it has no end.
HEAD = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
    "<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 0xFFFF, 64, 0, 0
)
#: A header, noise that does not compress, zeros, noise: sizes that are no multiples of a block.
NOISE = random.Random(1).randbytes(300_001)
CORE = HEAD + NOISE + bytes(5 * MIB + 123) + NOISE
FORMATS = ("gzip", "xz", "zstd", "lz4")


def zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    pytest.skip("no zstd module")


def compress(kind: str, data: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, compresslevel=1)
    if kind == "xz":
        return lzma.compress(data, preset=0)
    if kind == "lz4":
        return bytes(pytest.importorskip("lz4.frame").compress(data))
    return bytes(zstd().compress(data))


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "core.compressed"
    path.write_bytes(data)
    return path


def test_unpacks_each_format(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, compress(kind, CORE))
    os.utime(path, ns=(10**18, 10**18 + 5))
    assert compression_of(path) == kind
    with unpack(path, folder=str(tmp_path)) as core:
        assert Path(core.path).read_bytes() == CORE
        assert (core.compression, core.size, core.problem) == (kind, len(CORE), None)
        status = Path(core.path).stat()
        assert status.st_mtime_ns == 10**18 + 5
        assert status.st_mode & 0o777 == 0o600
        assert status.st_nlink == 0
        # The 5 MiB of zeros take no space.
        assert status.st_blocks * 512 < 2 * MIB
    assert [entry.name for entry in tmp_path.iterdir()] == ["core.compressed"]


def test_unpacks_streams_that_follow_each_other(kind: str, tmp_path: Path) -> None:
    half = len(CORE) // 2
    path = write(tmp_path, compress(kind, CORE[:half]) + compress(kind, CORE[half:]))
    with unpack(path) as core:
        assert Path(core.path).read_bytes() == CORE
        assert core.problem is None


def test_keeps_what_comes_before_a_cut(kind: str, tmp_path: Path) -> None:
    whole = compress(kind, CORE)
    for size in (len(whole) // 2, len(whole) - 1, len(whole) - 9):
        with unpack(write(tmp_path, whole[:size])) as core:
            assert CORE.startswith(Path(core.path).read_bytes())
            assert core.problem is not None
            assert core.size > len(CORE) // 100 or kind in ("zstd", "lz4")


def test_keeps_what_comes_before_damage(kind: str, tmp_path: Path) -> None:
    data = HEAD + random.Random(2).randbytes(8 * MIB)
    damaged = bytearray(compress(kind, data))
    middle = len(damaged) // 2
    damaged[middle - 2048 : middle + 2048] = bytes(4096)
    with unpack(write(tmp_path, bytes(damaged))) as core:
        # Formats that store noise as it is notice the damage only in the checksum at the end.
        assert core.problem is not None
        assert Path(core.path).read_bytes()[: 2 * MIB] == data[: 2 * MIB]


def test_survives_any_damage(kind: str, tmp_path: Path) -> None:
    whole = compress(kind, CORE[: 400 * 1024])
    generator = random.Random(3)
    for _ in range(60):
        damaged = bytearray(whole[: generator.randrange(1, len(whole) + 1)])
        for _ in range(generator.randrange(4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        with contextlib.suppress(PystackError):
            unpack(write(tmp_path, bytes(damaged))).close()


def test_says_what_follows_the_end(tmp_path: Path) -> None:
    with unpack(write(tmp_path, gzip.compress(CORE) + b"garbage")) as core:
        assert core.size == len(CORE)
        assert core.problem == "the data after the first stream is not gzip data"
    with unpack(write(tmp_path, gzip.compress(CORE) + bytes(512))) as core:
        assert core.problem is None


def test_refuses_what_is_no_core(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, compress(kind, b"a tar archive, perhaps"))
    with pytest.raises(NotACore, match=f"{kind} data, but does not contain a core"):
        unpack(path)
    with pytest.raises(NotACore, match="not compressed"):
        unpack(write(tmp_path, CORE[:100]))
    with pytest.raises(CoreTruncated, match="cannot be unpacked"):
        unpack(write(tmp_path, compress(kind, b"")))
    assert compression_of(write(tmp_path, b"")) is None


def test_missing_files_are_system_failures(tmp_path: Path) -> None:
    for function in (unpack, compression_of):
        with pytest.raises(SystemFailure, match="No such file") as failure:
            function(tmp_path / "absent")
        assert failure.value.errno == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda data: zstd().compress(data),
        lambda data: pytest.importorskip("lz4.frame").compress(data, store_size=True),
    ],
)
def test_checks_the_promised_size_first(
    make: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, make(CORE))
    written: list[int] = []
    monkeypatch.setattr(os, "pwrite", lambda *args: written.append(1))
    few = SimpleNamespace(f_bavail=len(CORE) // 4096 - 1, f_frsize=4096)
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: few)
    with pytest.raises(SystemFailure, match=r"not enough disk space in \S+ to unpack") as failure:
        unpack(path)
    assert failure.value.hint is not None
    assert "TMPDIR" in failure.value.hint
    assert not written


@pytest.mark.parametrize("size", [1, 255, 256, 65_791, 65_792, 100_000, 5_000_000])
def test_reads_every_width_of_the_promised_size(size: int, tmp_path: Path) -> None:
    path = write(tmp_path, zstd().compress((CORE * 2)[:size]))
    with open(path, "rb") as file:
        assert core_unpack._promised_size(file, "zstd") == size


def test_checks_the_disk_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_file, "_CHECK_EVERY_BYTES", MIB)
    full = SimpleNamespace(f_bavail=0, f_frsize=4096)
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: full)
    path = write(tmp_path, gzip.compress(HEAD + random.Random(4).randbytes(3 * MIB)))
    with pytest.raises(SystemFailure, match=r"not enough disk space in \S+ to unpack"):
        unpack(path)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where others have taken the space since the last look, or a quota is used up."""

    def refuse(*_: Any) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "pwrite", refuse)
    path = write(tmp_path, gzip.compress(CORE))
    with pytest.raises(SystemFailure) as failure:
        unpack(path, folder=str(tmp_path))
    assert str(failure.value) == (
        f"not enough disk space in {tmp_path} to unpack {path}: Disk quota exceeded"
    )
    assert failure.value.hint == "Set TMPDIR to a folder on a larger disk."


def test_reports_progress(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(CORE, compresslevel=1))
    steps: list[tuple[int, int, int]] = []
    unpack(path, progress=lambda *step: steps.append(step)).close()
    assert steps == sorted(steps)
    assert {total for _, total, _ in steps} == {path.stat().st_size}
    assert steps[-1][2] == len(CORE)


def test_names_the_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lz4.frame", "compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    for magic, package in ((b"\x28\xb5\x2f\xfd", "backports.zstd"), (b"\x04\x22\x4d\x18", "lz4")):
        with pytest.raises(PystackError, match="which this Python cannot unpack") as failure:
            unpack(write(tmp_path, magic + bytes(100)))
        assert failure.value.hint is not None
        assert package in failure.value.hint


def test_works_where_files_need_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real_open(path, flags, mode)

    real_open = os.open
    path = write(tmp_path, gzip.compress(CORE))
    monkeypatch.setattr(os, "open", refuse)
    with unpack(path, folder=str(tmp_path)) as core:
        assert core.size == len(CORE)
        assert [entry.name for entry in tmp_path.iterdir()] == ["core.compressed"]


def test_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(HEAD + random.Random(5).randbytes(8 * MIB), 1))
    work = tmp_path / "work"
    work.mkdir()
    program = (
        "import sys, time\n"
        "from pystack.core_unpack import unpack\n"
        "def stop(*step):\n"
        "    print('unpacking', flush=True)\n"
        "    time.sleep(60)\n"
        "unpack(sys.argv[1], folder=sys.argv[2], progress=stop)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path), str(work)],
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"unpacking\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 5
    while any(work.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(work.iterdir())
