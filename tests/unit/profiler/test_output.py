from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pystack_profiler.output import check_writable, expand, replacing


def test_names_are_expanded() -> None:
    assert expand("a-%p.json", 17) == "a-17.json"
    assert expand("100%%-%q-%", 17) == "100%-%q-%"
    assert len(expand("%t", 17)) == len("20260101T120000Z")
    assert expand("%t", 17, 1_767_225_599_999_000_000) == "20251231T235959Z"


def test_a_new_file_appears_whole_and_with_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    plain = tmp_path / "plain"
    plain.touch()
    with replacing(str(path)) as stream:
        stream.write("grün")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "grün"
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(tmp_path.iterdir()) == [path, plain]


def write_half(path: str) -> None:
    with replacing(path) as stream:
        stream.write("new")
        raise OSError("disk full")


def test_an_existing_file_survives_a_failure_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(OSError, match="disk full"):
        write_half(str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(str(path)) as stream:
        stream.write("new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.touch()
    link.symlink_to(target)
    with replacing(str(link)) as stream:
        stream.write("x")
    assert link.is_symlink()
    assert target.read_text() == "x"


def test_devices_are_written_to_and_not_replaced() -> None:
    check_writable("/dev/null")
    with replacing("/dev/null") as stream:
        stream.write("x")
    assert not Path("/dev/null").is_file()


def test_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    check_writable("-")
    with replacing("-") as stream:
        stream.write("x")
    assert capsys.readouterr().out == "x"


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_writable(str(tmp_path / "missing" / "out.json"))
    with pytest.raises(IsADirectoryError):
        check_writable(str(tmp_path))
    check_writable(str(tmp_path / "out.json"))
    assert list(tmp_path.iterdir()) == []
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(PermissionError):
            check_writable(str(tmp_path / "out.json"))
