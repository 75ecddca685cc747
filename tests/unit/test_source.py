import os
from pathlib import Path

import pytest

from pystack.render.source import MarkedLine, SourceReader, mark, resolve, start_time

LONG_AGO = 1_000_000_000


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with a process 7 that started at boot, whose root and cwd are folders of ours."""
    directory = tmp_path / "proc" / "7"
    (directory / "root" / "srv").mkdir(parents=True)
    (directory / "cwd").symlink_to(directory / "root" / "srv")
    far_future_ticks = 10**15
    (directory / "stat").write_text(f"7 (a) b) S {'0 ' * 18}{far_future_ticks} 0 0\n")
    return tmp_path / "proc"


def write(proc: Path, path: str, data: bytes) -> Path:
    file = proc / "7" / "root" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def line(proc: Path, path: str, number: int) -> str | None:
    source = SourceReader(7, str(proc)).file(path)
    return None if source is None else source.line(number)


def test_absolute_and_relative_paths(proc: Path) -> None:
    write(proc, "srv/app.py", b"one\ntwo\r\nthree")
    assert [line(proc, "/srv/app.py", number) for number in (1, 2, 3)] == ["one", "two", "three"]
    assert line(proc, "app.py", 2) == "two"
    assert line(proc, "./../srv/./app.py", 2) == "two"
    assert line(proc, "/../../srv/app.py", 2) == "two"
    assert [line(proc, "/srv/app.py", number) for number in (-1, 0, 4)] == [None] * 3


def test_links_are_those_of_the_target(proc: Path) -> None:
    write(proc, "opt/lib/a.py", b"inside\n")
    root = proc / "7" / "root"
    (root / "usr").symlink_to("/opt")
    (root / "srv" / "up").symlink_to("../opt/lib")
    (root / "srv" / "out").symlink_to("/../../../../../../etc/passwd")
    assert line(proc, "/usr/lib/a.py", 1) == "inside"
    assert line(proc, "up/a.py", 1) == "inside"
    assert line(proc, "/srv/out", 1) is None
    (root / "loop").symlink_to("/loop")
    with pytest.raises(OSError, match="symbolic links"):
        resolve(str(root), str(root), "/loop")
    assert line(proc, "/loop", 1) is None


def test_what_is_not_a_regular_file_is_not_read(proc: Path) -> None:
    root = proc / "7" / "root"
    os.mkfifo(root / "pipe")
    for path in ("/pipe", "/srv", "", "<string>", "<frozen zipimport>", "a\0b", "/none", "\ud800"):
        assert line(proc, path, 1) is None


def test_huge_files_are_not_read(proc: Path) -> None:
    file = write(proc, "big.py", b"x\n")
    os.truncate(file, 1 << 34)
    assert line(proc, "/big.py", 1) is None


def test_encodings(proc: Path) -> None:
    write(proc, "latin.py", b"# -*- coding: latin-1 -*-\nn = '\xe9'\n")
    write(proc, "bom.py", b"\xef\xbb\xbfx = '\xc3\xa9'\n")
    write(proc, "broken.py", b"x = '\xff'\n")
    write(proc, "unknown.py", b"# coding: no-such-codec\nx = 1\n")
    write(proc, "binary.py", b"# coding: hex\nx = 1\n")
    assert line(proc, "/latin.py", 2) == "n = 'é'"
    assert line(proc, "/bom.py", 1) == "x = 'é'"
    assert line(proc, "/broken.py", 1) == "x = '\ufffd'"
    assert line(proc, "/unknown.py", 2) == "x = 1"
    assert line(proc, "/binary.py", 2) == "x = 1"


def test_only_newlines_end_lines(proc: Path) -> None:
    write(proc, "a.py", "a\x0cb\x0bc\u2028d\x85e\rf\n".encode())
    assert line(proc, "/a.py", 1) == "a\x0cb\x0bc\u2028d\x85e"
    assert line(proc, "/a.py", 2) == "f"


def test_change_after_the_start_is_noticed(proc: Path) -> None:
    file = write(proc, "a.py", b"x\n")
    now = SourceReader(7, str(proc)).file("/a.py")
    assert now is not None
    assert not now.changed
    (proc / "7" / "stat").write_text(f"7 (a) S {'0 ' * 18}1 0\n")
    # The older date does not deceive: the change time moved.
    os.utime(file, (LONG_AGO, LONG_AGO))
    now = SourceReader(7, str(proc)).file("/a.py")
    assert now is not None
    assert now.changed


def test_start_time(proc: Path) -> None:
    import time

    assert abs(start_time("/proc/self") - time.time()) < 10_000_000
    assert start_time("/proc/self") <= time.time()
    assert start_time(str(proc / "none")) == float("inf")


def test_without_a_process_there_are_no_lines(tmp_path: Path) -> None:
    assert SourceReader(7, str(tmp_path)).file("/a.py") is None


@pytest.mark.parametrize(
    ("text", "column", "end_column", "expected"),
    [
        ("    x = f(a)\n", 8, 12, ("x = ", "f(a)", "")),
        ("    x = f(a)  # why", 8, 12, ("x = ", "f(a)", "  # why")),
        ("    f(a)", 4, 8, ("f(a)", "", "")),  # all of it
        ("    f(a)", None, None, ("f(a)", "", "")),
        ("    f(a)", 6, None, ("f(a)", "", "")),
        ("    f(a)", 6, 6, ("f(a)", "", "")),
        ("    f(a)", 99, 120, ("f(a)", "", "")),
        ("    f(a) + 1", 0, 8, ("", "f(a)", " + 1")),
        ("é = 'ü' + f(x)", 12, 16, ("é = 'ü' + ", "f(x)", "")),
        ("名 = f('前') + g()", 6, 14, ("名 = ", "f('前')", " + g()")),
        ("a = '\x1b' + f()", 10, 13, ("a = '\\x1b' + ", "f()", "")),
        ("a\t= f()", 4, 7, ("a = ", "f()", "")),
        ("", 0, 4, ("", "", "")),
    ],
)
def test_mark(
    text: str, column: int | None, end_column: int | None, expected: tuple[str, str, str]
) -> None:
    assert mark(text, column, end_column, ends_here=True) == MarkedLine(*expected)


def test_mark_goes_to_the_end_of_the_first_line() -> None:
    assert mark("  x = f(a,\n", 6, 3, ends_here=False) == ("x = ", "f(a,", "")


def test_long_lines_are_cut() -> None:
    text = "x = [" + "1, " * 1000 + "f()]"
    before, marked, after = mark(text, len(text) - 4, len(text) - 1, ends_here=True)
    assert (len(before), marked, after) == (240, "", "...")
    assert "".join(mark(text, None, None, ends_here=True, full=True)) == text
