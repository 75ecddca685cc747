"""Finds folders and files on paths that other users can change.

A path is walked component by component: each is opened without following links and then examined. "We" are the
effective user. Root is trusted, and so is the owner of the root folder, who can replace any file anyway (in a user
namespace, the host's root has another ID).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from types import TracebackType

_PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40  # the kernel's limit

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Folder:
    """An open folder: it stays the same folder, whatever happens to its path."""

    def __init__(self, descriptor: int) -> None:
        """Takes ownership of the descriptor."""
        status = os.fstat(descriptor)
        self.descriptor = descriptor
        self.device = status.st_dev
        #: Everybody can create files in it, or its owner is not trusted.
        self.is_open_to_all = status.st_uid not in _trusted_users() or bool(
            status.st_mode & stat.S_IWOTH
        )
        #: The same, or the members of its group can create files in it.
        self.others_can_write = self.is_open_to_all or bool(status.st_mode & stat.S_IWGRP)

    def close(self) -> None:
        os.close(self.descriptor)


class Place:
    """A name in a folder and the entry there; `status` is None if there is none."""

    def __init__(
        self, folder: Folder, name: str, descriptor: int | None, *, is_inherited: bool = False
    ) -> None:
        self.folder = folder
        self.name = name
        #: The name is the number of a descriptor that this process already has: /dev/stdout.
        self.is_inherited = is_inherited
        self._descriptor = descriptor
        self.status = None if descriptor is None else os.fstat(descriptor)

    @property
    def is_special(self) -> bool:
        """Whether it is written to and never replaced: a pipe, terminal, device or open descriptor."""
        if self.is_inherited:
            return True
        return self.status is not None and not stat.S_ISREG(self.status.st_mode)

    @property
    def entry_path(self) -> str:
        """A path that opens the entry that was examined, whatever its name refers to by now."""
        return f"/proc/self/fd/{self._descriptor}"

    def close(self) -> None:
        self.folder.close()
        if self._descriptor is not None:
            os.close(self._descriptor)

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def find_place(path: str) -> Place:
    """Finds the place where a file of that name is to be written. Symbolic links are followed.

    Raises OSError whose `strerror` is a sentence. It is a PermissionError for entries that another
    user may have planted: in a folder that others can write to, a link, or a pipe, device or file that
    is not ours; on the way to it, links of other users.
    """
    if path.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    with _Walk(path) as walk:
        return walk.to_place()


def find_folder(path: str, *, create: bool = False) -> Folder:
    """Finds a folder. With `create`, missing folders are created for their owner only."""
    with _Walk(path) as walk:
        return walk.to_folder(create=create)


def fixed_path(folder: Folder) -> str | None:
    """The folder's path, if nobody else can make it lead elsewhere or put anything into the folder."""
    path = os.readlink(f"/proc/self/fd/{folder.descriptor}")  # noqa: PTH115 (as here)
    parts = path.split("/")
    above = ("/".join(parts[:count]) or "/" for count in range(1, len(parts)))
    if folder.others_can_write or parts[0] or not all(map(_keeps_entries, above)):
        return None
    same = os.path.samestat(os.stat(path), os.fstat(folder.descriptor))  # noqa: PTH116 (often)
    return path if same else None


def place_in(folder: Folder, name: str) -> Place:
    """Finds a name in a folder where nobody else can write. The place takes ownership of the folder."""
    try:
        descriptor = os.open(name, _PATH_FLAGS, dir_fd=folder.descriptor)
    except FileNotFoundError:
        return Place(folder, name, None)
    return Place(folder, name, descriptor)


def _keeps_entries(path: str) -> bool:
    """Whether only we, root, and the owners of its entries can rename what is in the folder."""
    status = os.lstat(path)
    if status.st_uid not in _trusted_users():
        return False
    return not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or bool(status.st_mode & stat.S_ISVTX)


def _trusted_users() -> tuple[int, ...]:
    return (0, os.geteuid(), os.stat("/").st_uid)  # noqa: PTH116 (often)


class _Walk:
    """A walk along a path. If it raises, it closes the folder that it has reached."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._names: list[str] = []  # the next one is the last
        self._links = 0
        self._folder = self._first_folder(path)
        self._push(path)

    def __enter__(self) -> _Walk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._folder.close()

    def to_place(self) -> Place:
        while self._names:
            name = self._names.pop()
            is_last = not self._names
            descriptor = self._open(name)
            if descriptor is None:
                if not is_last:
                    raise self._error(errno.ENOENT)
                return Place(self._folder, name, None)
            if _is_link(descriptor):
                if (place := self._follow(name, descriptor, is_last=is_last)) is not None:
                    return place
            elif is_last:
                self._check_entry(name, descriptor)
                return Place(self._folder, name, descriptor)
            else:
                self._enter(descriptor)
        raise self._error(errno.EISDIR)

    def to_folder(self, *, create: bool) -> Folder:
        while self._names:
            name = self._names.pop()
            descriptor = self._open(name)
            if descriptor is None and create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=self._folder.descriptor)
                descriptor = self._open(name)
            if descriptor is None:
                raise self._error(errno.ENOENT)
            if _is_link(descriptor):
                self._follow(name, descriptor, is_last=False)
            else:
                self._enter(descriptor)
        return self._folder

    def _first_folder(self, path: str) -> Folder:
        return Folder(os.open("/" if path.startswith("/") else ".", _PATH_FLAGS))

    def _push(self, path: str) -> None:
        self._names += [name for name in reversed(path.split("/")) if name not in ("", ".")]

    def _open(self, name: str) -> int | None:
        try:
            return os.open(name, _PATH_FLAGS, dir_fd=self._folder.descriptor)
        except FileNotFoundError:
            return None

    def _enter(self, descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._error(errno.ENOTDIR)
        self._folder.close()
        self._folder = Folder(descriptor)

    def _follow(self, name: str, link: int, *, is_last: bool) -> Place | None:
        """Continues at the target of the link. Returns the place if the target is not a path, but an
        open file: a pipe, or a descriptor of this process."""
        try:
            status = os.fstat(link)
            if self._may_be_planted(status, is_last=is_last):
                raise self._refusal(name, status)
            target = os.readlink("", dir_fd=link)
        finally:
            os.close(link)
        self._links += 1
        if self._links > _MAX_LINKS:
            raise self._error(errno.ELOOP)
        if is_last and self._folder.device == _proc_device():
            # /dev/stdout, and what the shell makes of `>(program)`.
            is_own = self._is_own_descriptor(name)
            if is_own or not target.startswith("/"):
                flags = os.O_PATH | os.O_CLOEXEC
                opened = os.open(name, flags, dir_fd=self._folder.descriptor)
                return Place(self._folder, name, opened, is_inherited=is_own)
        if target.startswith("/"):
            first = self._first_folder(target)
            self._folder.close()
            self._folder = first
        self._push(target)
        return None

    def _is_own_descriptor(self, name: str) -> bool:
        folder = os.readlink(f"/proc/self/fd/{self._folder.descriptor}")  # noqa: PTH115 (as here)
        return name.isdigit() and folder in (f"/proc/{os.getpid()}/fd", "/proc/self/fd")

    def _may_be_planted(self, status: os.stat_result, *, is_last: bool) -> bool:
        # As the last component, not even a link of ours is trusted in a folder where everybody can
        # create another name for it (fs.protected_hardlinks=0) or rename it.
        if is_last and self._folder.is_open_to_all:
            return True
        return self._folder.others_can_write and status.st_uid not in _trusted_users()

    def _check_entry(self, name: str, descriptor: int) -> None:
        status = os.fstat(descriptor)
        error: OSError | None = None
        if stat.S_ISDIR(status.st_mode):
            error = self._error(errno.EISDIR)
        elif self._folder.others_can_write and status.st_uid != os.geteuid():
            error = self._refusal(name, status)
        if error is not None:
            os.close(descriptor)
            raise error

    def _refusal(self, name: str, status: os.stat_result) -> OSError:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "an entry")
        what = f"{kind} of user {status.st_uid}, in a folder that other users can write to"
        sentence = what if self._path.endswith(name) else f"{name} is {what}"
        return PermissionError(errno.EPERM, sentence, self._path)

    def _error(self, code: int) -> OSError:
        return OSError(code, os.strerror(code), self._path)


def _is_link(descriptor: int) -> bool:
    return stat.S_ISLNK(os.fstat(descriptor).st_mode)


def _proc_device() -> int:
    return os.stat("/proc").st_dev  # noqa: PTH116 (as everywhere here)
