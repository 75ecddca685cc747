"""`api.dump_core` without the extension: what it hands down, and what it makes of the answer."""

import gzip
import os
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pystack
from pystack import api, errors
from raw_snapshots import raw_core, raw_snapshot

#: The header of a core that does not say how long it is (PN_XNUM), and zeros.
ELF = (
    b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 0xFFFF, 64, 0, 0)
    + bytes(1000)
)


class FakeCore:
    """In the place of the extension: notes how it is called, and gives or raises `result`."""

    def __init__(self) -> None:
        self.result: Any = None
        self.calls: list[dict[str, Any]] = []
        self.contents = b""

    def dump_core(self, path: str, **arguments: Any) -> Any:
        self.calls.append({"path": path, **arguments})
        if Path(path).is_file():
            self.contents = Path(path).read_bytes()
        if isinstance(self.result, Exception):
            raise self.result
        return raw_snapshot(core=raw_core())


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    fake = FakeCore()
    module = SimpleNamespace(dump_core=fake.dump_core)
    monkeypatch.setitem(sys.modules, "pystack._core", module)
    monkeypatch.setattr(pystack, "_core", module, raising=False)
    return fake


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "core.1"
    path.write_bytes(ELF)
    return path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "core.gz"
    path.write_bytes(gzip.compress(ELF))
    return path


def test_plain_core(core: FakeCore, plain: Path, tmp_path: Path) -> None:
    snapshot = pystack.dump_core(plain)
    assert snapshot.kind == "core"
    assert snapshot.core is not None
    assert (snapshot.core.path, snapshot.core.compression) == (str(plain), None)
    program = tmp_path / "program"
    program.write_bytes(ELF)
    api.dump_core(
        str(plain),
        executable=program,
        library_folders=[tmp_path, "/"],
        library_root=tmp_path,
        exhaustive=True,
    )
    wanted = ("path", "executable", "library_folders", "library_root", "exhaustive")
    assert [[call[name] for name in wanted] for call in core.calls] == [
        [str(plain), None, [], None, False],
        [str(plain), str(program), [str(tmp_path), "/"], str(tmp_path), True],
    ]


def test_what_is_not_compressed_is_left_to_the_extension(core: FakeCore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello")
    for name in ("pipe", "text", "none"):
        api.dump_core(tmp_path / name)
    assert len(core.calls) == 3
    api.dump_core(tmp_path)


def test_compressed_core(core: FakeCore, packed: Path) -> None:
    told: list[tuple[int, int, int]] = []
    snapshot = api.dump_core(packed, progress=lambda *numbers: told.append(numbers))
    assert snapshot.core is not None
    assert (snapshot.core.path, snapshot.core.compression) == (str(packed), "gzip")
    assert snapshot.problems == ()
    assert core.contents == ELF
    size = packed.stat().st_size
    assert told[-1] == (size, size, len(ELF))
    assert not Path(core.calls[0]["path"]).exists()


def test_compressed_core_that_is_cut(core: FakeCore, packed: Path) -> None:
    os.truncate(packed, packed.stat().st_size - 4)
    snapshot = api.dump_core(packed)
    assert snapshot.problems == (
        f"only {len(ELF)} bytes of {packed} could be unpacked: the gzip data is truncated",
    )


def test_failures_name_the_file_of_the_user(core: FakeCore, packed: Path) -> None:
    class Later(errors.NotACore):
        """Its text is known when the temporary file is."""

        def __str__(self) -> str:
            return str(self.args[0]).replace("CORE", core.calls[0]["path"])

    core.result = Later("CORE is an executable", hint="x")
    with pytest.raises(errors.NotACore) as caught:
        api.dump_core(packed)
    assert str(caught.value) == f"{packed} is an executable"
    assert caught.value.hint == "x"
    assert not Path(core.calls[0]["path"]).exists()


def test_arguments_that_cannot_be(core: FakeCore, plain: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/python3\n")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"library_root": plain}, "is not a folder"),
        ({"library_folders": [tmp_path / "none"]}, "is not a folder"),
        ({"executable": script}, "is not an ELF executable"),
        ({"executable": tmp_path / "none"}, "cannot be read: No such file"),
        ({"library_root": "/\udcff"}, "is not UTF-8"),
        ({"library_root": "a\0b"}, "contains a zero byte"),
    ]
    for arguments, words in cases:
        with pytest.raises(errors.InvalidArgument, match=words):
            api.dump_core(plain, **arguments)
    with pytest.raises(errors.InvalidArgument, match="is not UTF-8"):
        api.dump_core("core.\udcff")
    assert core.calls == []


def test_paths_may_be_bytes_but_one_folder_is_no_list(core: FakeCore, plain: Path) -> None:
    folder = plain.parent
    api.dump_core(os.fsencode(plain), library_folders=[os.fsencode(folder)])  # type: ignore[arg-type, list-item]
    assert core.calls[0]["path"] == str(plain)
    assert core.calls[0]["library_folders"] == [str(folder)]
    with pytest.raises(errors.InvalidArgument, match="library_folders must be a list"):
        api.dump_core(plain, library_folders=str(folder))
