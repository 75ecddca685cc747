import os
from pathlib import Path

import pytest

from pystack import _core
from pystack.render import source
from pystack.render.source import MarkedLine, Place, SourceReader, mark, start_time

FAR_FUTURE = 10.0**10
LONG_AGO = 1_000_000_000


def write(folder: Path, path: str, data: bytes) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def reader(folder: Path, newest: float = FAR_FUTURE) -> SourceReader:
    """Of files that lie below the folder, which is the root."""
    return SourceReader((Place(_core.folder_files(str(folder)), by_change_time=True),), newest)


def line(folder: Path, path: str, number: int) -> str | None:
    source = reader(folder).file(path)
    return None if source is None else source.line(number)


def test_lines(tmp_path: Path) -> None:
    write(tmp_path, "srv/app.py", b"one\ntwo\r\nthree\rfour\n\nsix")
    lines = [line(tmp_path, "/srv/app.py", number) for number in range(1, 7)]
    assert lines == ["one", "two", "three", "four", "", "six"]
    assert [line(tmp_path, "/srv/app.py", number) for number in (-1, 0, 7)] == [None] * 3
    write(tmp_path, "empty.py", b"")
    write(tmp_path, "ends.py", b"a\n")
    assert line(tmp_path, "/empty.py", 1) is None
    assert line(tmp_path, "/ends.py", 2) is None
    # What a relative path is relative to is not known.
    assert line(tmp_path, "srv/app.py", 1) is None


def test_lines_of_long_files(tmp_path: Path) -> None:
    expected = ["x" * (number % 97) for number in range(1000)] + [""] * 9000 + ["y" * 9000, "z"]
    file = write(tmp_path, "long.py", "\n".join(expected).encode())
    found = reader(tmp_path).file("/long.py")
    assert found is not None
    assert [found.line(number + 1) for number in range(len(expected))] == expected
    assert found.line(len(expected) + 1) is None
    file.write_bytes(b"\n" * 20_000)
    assert line(tmp_path, "/long.py", 20_000) == ""
    assert line(tmp_path, "/long.py", 20_001) is None


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "opt/lib/a.py", b"inside\n")
    write(tmp_path, "secret", b"outside\n")
    (root / "usr").symlink_to("/opt")
    (root / "out").symlink_to("/../../../../../../etc/passwd")
    (root / "up").symlink_to("../secret")
    (root / "loop").symlink_to("/loop")
    assert line(root, "/usr/lib/a.py", 1) == "inside"
    assert [line(root, path, 1) for path in ("/out", "/up", "/loop", "/../secret")] == [None] * 4


def test_what_is_not_a_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "srv").mkdir()
    for path in ("/pipe", "/srv", "", "<string>", "<frozen zipimport>", "a\0b", "/none", "\ud800"):
        assert line(tmp_path, path, 1) is None


def test_huge_files_are_left_out(tmp_path: Path) -> None:
    file = write(tmp_path, "big.py", b"x\n")
    os.truncate(file, 1 << 34)
    sources = reader(tmp_path)
    assert sources.file("/big.py") is None
    assert sources.left_out == {"/big.py"}


def test_files_are_kept_once_and_within_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MAX_TOTAL_BYTES", 2500)
    write(tmp_path, "a.py", b"x" * 1000)
    for name in ("b.py", "c.py"):
        write(tmp_path, name, b"y" * 1000)
    (tmp_path / "link.py").symlink_to("a.py")
    (tmp_path / "hard.py").hardlink_to(tmp_path / "a.py")
    sources = reader(tmp_path)
    names = ("/a.py", "/link.py", "/hard.py", "//a.py", "/./a.py")
    assert len({id(sources.file(name)) for name in names}) == 1
    assert sources.file("/b.py") is not None
    assert sources.file("/c.py") is None
    assert sources.left_out == {"/c.py"}


def test_encodings(tmp_path: Path) -> None:
    write(tmp_path, "latin.py", b"# -*- coding: latin-1 -*-\nn = '\xe9'\n")
    write(tmp_path, "bom.py", b"\xef\xbb\xbfx = '\xc3\xa9'\n")
    write(tmp_path, "broken.py", b"x = '\xff'\n")
    write(tmp_path, "unknown.py", b"# coding: no-such-codec\nx = 1\n")
    write(tmp_path, "binary.py", b"# coding: hex\nx = 1\n")
    assert line(tmp_path, "/latin.py", 2) == "n = 'é'"
    assert line(tmp_path, "/bom.py", 1) == "x = 'é'"
    assert line(tmp_path, "/broken.py", 1) == "x = '\ufffd'"
    assert line(tmp_path, "/unknown.py", 2) == "x = 1"
    assert line(tmp_path, "/binary.py", 2) == "x = 1"


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "a\x0cb\x0bc\u2028d\x85e\rf\n".encode())
    assert line(tmp_path, "/a.py", 1) == "a\x0cb\x0bc\u2028d\x85e"
    assert line(tmp_path, "/a.py", 2) == "f"


def test_change_after_the_start_is_noticed(tmp_path: Path) -> None:
    file = write(tmp_path, "a.py", b"x\n")
    now = reader(tmp_path).file("/a.py")
    assert now is not None
    assert not now.changed
    # The older date does not deceive: the change time moved.
    os.utime(file, (LONG_AGO, LONG_AGO))
    now = reader(tmp_path, newest=LONG_AGO + 100).file("/a.py")
    assert now is not None
    assert now.changed


def test_start_time(tmp_path: Path) -> None:
    import time

    assert abs(start_time("/proc/self") - time.time()) < 10_000_000
    assert start_time("/proc/self") <= time.time()
    assert start_time(str(tmp_path / "none")) == float("inf")


def test_files_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a.py", b"x\n")
    sources = SourceReader.of_process(os.getpid())
    for path in ("a.py", "./a.py", f"../{tmp_path.name}/a.py", str(tmp_path / "a.py")):
        found = sources.file(path)
        assert found is not None
        assert found.line(1) == "x"
        assert found.changed
    assert sources.file("/proc/self/environ") is None


@pytest.mark.parametrize("pid", [2**22 + 1, 2**31, 2**64])
def test_without_a_process_there_are_no_lines(pid: int) -> None:
    assert SourceReader.of_process(pid).file("/etc/passwd") is None


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


LONG = "x = [" + "1, " * 1000 + "f()" + ", 2" * 1000 + "]"


@pytest.mark.parametrize("place", [0, 5, 230, 300, 3005, 4000, len(LONG) - 4])
@pytest.mark.parametrize("size", [1, 3, 100, 230, 250, 1000])
def test_long_lines_are_shown_around_their_mark(place: int, size: int) -> None:
    end = min(place + size, len(LONG))
    before, marked, after = mark(LONG, place, end, ends_here=True)
    shown = before + marked + after
    assert len(shown.strip(".")) == 240
    assert shown.strip(".") in LONG
    assert LONG[place:end].startswith(marked.removesuffix("..."))
    assert len(marked) >= min(end - place, 200)
    assert shown.startswith("...") == (not LONG.startswith(shown.strip(".")))
    assert shown.endswith("...") == (not LONG.endswith(shown.strip(".")))


def test_long_lines_are_cut_behind_what_is_not_marked() -> None:
    assert mark(LONG, None, None, ends_here=True) == (LONG[:240], "", "...")
    assert "".join(mark(LONG, None, None, ends_here=True, full=True)) == LONG


def test_an_ellipsis_is_not_longer_than_what_it_hides() -> None:
    assert "".join(mark("a" * 243, None, None, ends_here=True)) == "a" * 243
    assert "".join(mark("a" * 244, None, None, ends_here=True)) == "a" * 240 + "..."
    line = "xyz" + "a" * 230 + "(f)" + "b" * 7
    assert "".join(mark(line, 240, 243, ends_here=True)) == line
