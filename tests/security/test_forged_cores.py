"""Cores that have too much of something: names of files, threads, program headers."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from core_files import need_kernel_cores, small_core
from interpreters import available
from security.meter import MOST_MEMORY, measured, seconds_to_end

_AT_ONCE_S = 3.0
_NOTE, _LOAD = 4, 1
_PRSTATUS, _FILE = 1, 0x46494C45
_HEADER = struct.Struct("<IIQQQQQQ")


class Forgery:
    """A core to which something is added."""

    def __init__(self, core: bytes) -> None:
        self.data = bytearray(core) + bytes(-len(core) % 8)
        self.headers_at = struct.unpack_from("<Q", core, 32)[0]
        self.count = struct.unpack_from("<H", core, 56)[0]
        headers = (self.headers_at + 56 * i for i in range(self.count))
        self.notes_header = next(at for at in headers if _HEADER.unpack_from(core, at)[0] == _NOTE)
        _, _, offset, _, _, size, _, _ = _HEADER.unpack_from(core, self.notes_header)
        self.notes = bytes(core[offset : offset + size])

    def replace_notes(self, notes: bytes) -> None:
        kind, flags, _, address, physical, _, size, unit = _HEADER.unpack_from(
            self.data, self.notes_header
        )
        _HEADER.pack_into(
            self.data,
            self.notes_header,
            *(kind, flags, len(self.data), address, physical, len(notes), size, unit),
        )
        self.data += notes

    def split_notes(self) -> list[tuple[int, bytes, bytes]]:
        """Kind, name and description of each note."""
        found = []
        at = 0
        while at < len(self.notes):
            name_size, size, kind = struct.unpack_from("<III", self.notes, at)
            begin = at + 12 + (name_size + 3 & ~3)
            found.append((kind, self.notes[at + 12 : begin], self.notes[begin : begin + size]))
            at = begin + (size + 3 & ~3)
        return found


def _note(kind: int, name: bytes, text: bytes) -> bytes:
    return struct.pack("<III", 5, len(text), kind) + name + text + bytes(-len(text) % 4)


def many_names(core: bytes, count: int = 100_000, size: int = 4000) -> bytes:
    forgery = Forgery(core)
    notes = []
    for kind, name, text in forgery.split_notes():
        if kind == _FILE:
            known, unit = struct.unpack_from("<QQ", text)
            places = b"".join(
                struct.pack("<QQQ", 0x100000000 + i * 0x3000, 0x100001000 + i * 0x3000, 0)
                for i in range(count)
            )
            names = b"".join(b"/%08d" % i + b"a" * size + b"\0" for i in range(count))
            places += text[16 : 16 + 24 * known]
            names += text[16 + 24 * known :]
            text = struct.pack("<QQ", known + count, unit) + places + names
        notes.append(_note(kind, name, text))
    forgery.replace_notes(b"".join(notes))
    return bytes(forgery.data)


def many_threads(core: bytes, count: int = 500_000) -> bytes:
    forgery = Forgery(core)
    parts = forgery.split_notes()
    name, text = next((name, text) for kind, name, text in parts if kind == _PRSTATUS)
    note = bytearray(_note(_PRSTATUS, name, text))
    tid_at = 12 + len(name) + 32
    added = []
    for i in range(count):
        struct.pack_into("<I", note, tid_at, 100_000 + i)
        added.append(bytes(note))
    forgery.replace_notes(forgery.notes + b"".join(added))
    return bytes(forgery.data)


def many_headers(core: bytes, count: int = 3_000_000) -> bytes:
    forgery = Forgery(core)
    known = forgery.data[forgery.headers_at : forgery.headers_at + 56 * forgery.count]
    data = forgery.data
    headers_at = len(data)
    data += known
    data += b"".join(
        _HEADER.pack(_LOAD, 4, 0, 0x100000000 + i * 0x2000, 0, 4096, 4096, 4096)
        for i in range(count)
    )
    sections_at = len(data)
    data += struct.pack("<IIQQQQIIQQ", *(0,) * 7, forgery.count + count, 0, 0)
    struct.pack_into("<Q", data, 32, headers_at)
    struct.pack_into("<Q", data, 40, sections_at)
    struct.pack_into("<H", data, 56, 0xFFFF)
    struct.pack_into("<HHH", data, 58, 64, 1, 0)
    return bytes(data)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    need_kernel_cores()
    interpreter = next(one for one in available() if one.root is None)
    return small_core(interpreter, tmp_path_factory.mktemp("core")).read_bytes()


_FORGERIES = pytest.mark.parametrize(
    ("forge", "left_out"),
    [
        (many_names, "mapped files of the core were left out"),
        (many_threads, "threads of the core were left out"),
        (many_headers, "memory segments of the core were left out"),
    ],
)


@_FORGERIES
@pytest.mark.parametrize("options", [(), ("--native-all",)])
def test_what_is_too_much_is_left_out(
    forge: Callable[[bytes], bytes],
    left_out: str,
    options: tuple[str, ...],
    core: bytes,
    tmp_path: Path,
) -> None:
    path = tmp_path / "forged"
    path.write_bytes(forge(core))
    run = measured("core", "--json", *options, path)
    path.unlink()
    assert run.status == 0, run.stderr
    snapshot = json.loads(run.stdout)
    assert any(left_out in problem for problem in snapshot["problems"])
    functions = {frame["function"] for one in snapshot["threads"] for frame in one["frames"]}
    assert {"waits", "sleeps"} <= functions
    assert run.peak_mib < MOST_MEMORY


@_FORGERIES
def test_a_signal_ends_the_reading(
    forge: Callable[[bytes], bytes], left_out: str, core: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "forged"
    path.write_bytes(forge(core))
    seconds = seconds_to_end(
        "core",
        "--native-all",
        path,
        has_begun=lambda pid: str(path) in Path(f"/proc/{pid}/maps").read_text(),
    )
    assert seconds < _AT_ONCE_S
    path.unlink()


def test_a_real_core_loses_nothing(core: bytes, tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(core)
    run = measured("core", "--json", "--native-all", path)
    assert run.status == 0, run.stderr
    assert json.loads(run.stdout)["problems"] == []
