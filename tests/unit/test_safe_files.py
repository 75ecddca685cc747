"""Files in folders of our own; tests/security has the folders where others can write."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pystack.safe_files import check_place, new_file
from pystack.safe_paths import find_folder, find_place, fixed_path, place_in


def write(path: str | Path, text: str = "new", *, owner_only: bool = False) -> None:
    with find_place(str(path)) as place:
        check_place(place)
        with new_file(place, owner_only=owner_only) as descriptor:
            os.write(descriptor, text.encode())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(params=["unnamed", "named"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On file systems with files that have no name, and on those without."""
    if request.param == "named":
        real_open = os.open

        def refuse(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "not supported")
            return real_open(path, flags, *rest, **options)

        monkeypatch.setattr(os, "open", refuse)
    return tmp_path


def test_permissions(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        for name, owner_only, mode in (("usual", False, 0o640), ("private", True, 0o600)):
            write(folder / name, owner_only=owner_only)
            assert stat.S_IMODE((folder / name).stat().st_mode) == mode
        (folder / "private").chmod(0o4755)
        write(folder / "private", owner_only=True)
        assert stat.S_IMODE((folder / "private").stat().st_mode) == 0o644
    finally:
        os.umask(before)
    assert sorted(path.name for path in folder.iterdir()) == ["private", "usual"]


def test_a_failure_leaves_nothing(folder: Path) -> None:
    path = folder / "file"
    path.write_text("old")
    before = open_descriptors()
    with pytest.raises(ZeroDivisionError), find_place(str(path)) as place, new_file(place):
        raise ZeroDivisionError
    assert [(one.name, one.read_text()) for one in folder.iterdir()] == [("file", "old")]
    assert open_descriptors() == before


def test_paths_as_the_kernel_follows_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a/b").mkdir(parents=True)
    (folder / "to_b").symlink_to("a/b")
    (folder / "absolute").symlink_to(folder / "a")
    (folder / "dangling").symlink_to("a/dangling")
    monkeypatch.chdir(folder / "a")
    before = open_descriptors()
    for path, where in (
        ("x1", "a/x1"),
        ("./b//x2", "a/b/x2"),
        ("../to_b/../x3", "a/x3"),
        (f"{folder}/absolute/b/x4", "a/b/x4"),
        ("../dangling", "a/dangling"),
    ):
        write(path, path)
        assert (folder / where).read_text() == path
    assert (folder / "dangling").is_symlink()
    assert open_descriptors() == before


def test_what_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to("ring")
    before = open_descriptors()
    for name, code in (
        ("", errno.EISDIR),
        ("missing/file", errno.ENOENT),
        ("file/file", errno.ENOTDIR),
        ("file/", errno.EISDIR),
        ("ring", errno.ELOOP),
        ("..", errno.EISDIR),
    ):
        with pytest.raises(OSError, match=r".") as failure:
            write(f"{tmp_path}/{name}" if name else str(tmp_path))
        assert failure.value.errno == code, name
    with pytest.raises(FileNotFoundError):
        write("")
    assert open_descriptors() == before


def test_standard_output_is_written_to_whatever_it_is(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with find_place(f"/dev/fd/{writer}") as place:
        assert place.is_special
        check_place(place)
    os.close(reader)
    os.close(writer)


def test_folders_are_made_for_their_owner(tmp_path: Path) -> None:
    folder = find_folder(f"{tmp_path}/a/b", create=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert not folder.others_can_write
    with place_in(folder, "file") as place, new_file(place) as descriptor:
        os.write(descriptor, b"x")
    assert (tmp_path / "a/b/file").read_text() == "x"
    for mode, group, everybody in ((0o775, True, False), (0o1777, True, True)):
        (tmp_path / "a").chmod(mode)
        folder = find_folder(f"{tmp_path}/a")
        assert (folder.others_can_write, folder.is_open_to_all) == (group, everybody)
        folder.close()


def fixed(path: Path) -> str | None:
    folder = find_folder(str(path))
    try:
        return fixed_path(folder)
    finally:
        folder.close()


def test_a_path_that_nobody_else_can_redirect(tmp_path: Path) -> None:
    above = tmp_path / "above"
    own = above / "own"
    own.mkdir(parents=True)
    assert fixed(own) == str(own)
    for mode, own_mode, is_fixed in (
        (0o777, 0o755, False),  # another user can rename what is above
        (0o775, 0o755, False),
        (0o1777, 0o755, True),  # as in /tmp
        (0o755, 0o777, False),  # and can create files beside ours
        (0o755, 0o1777, False),
        (0o755, 0o775, False),
    ):
        above.chmod(mode)
        own.chmod(own_mode)
        assert (fixed(own) == str(own)) is is_fixed, (oct(mode), oct(own_mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_fixed(tmp_path: Path) -> None:
    own = tmp_path / "other" / "own"
    own.mkdir(parents=True)
    os.chown(own.parent, 12345, 12345)
    assert fixed(own) is None
