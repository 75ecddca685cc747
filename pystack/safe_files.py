"""Writes files safely in folders where other users can write as well.

Root may run this tool and name a file in /tmp, where anybody may have planted a link, a pipe or a file
under that name. So the new file is created in the folder that was found (`safe_paths`):

    with find_place("/tmp/out.html") as place, new_file(place) as descriptor:
        os.write(descriptor, b"...")
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator

from .safe_paths import Folder, Place

_READ_AND_WRITE_BITS = 0o666
_OWNER_ONLY = 0o600


def check_place(place: Place) -> None:
    """Raises the OSError that writing there would raise, if that can be known in advance."""
    if place.is_inherited:
        mode = fcntl.fcntl(int(place.name), fcntl.F_GETFL) & os.O_ACCMODE
        if mode == os.O_RDONLY:
            raise PermissionError(errno.EACCES, "is open for reading only", place.name)
        return
    if place.status is None:
        pass
    elif not os.access(
        place.entry_path, os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise PermissionError(errno.EACCES, "the file is read-only", place.name)
    elif place.is_special:
        return
    descriptor, temporary = _create(place.folder, _OWNER_ONLY)
    os.close(descriptor)
    _remove(place.folder, temporary)


@contextlib.contextmanager
def new_file(place: Place, *, owner_only: bool = False) -> Iterator[int]:
    """Yields a descriptor to write to. At the end, the complete file appears under its name at once, also on the disk.

    An exception in the block leaves the old file in place. A regular file of ours passes on its read
    and write bits; otherwise the file gets the usual permissions, or 0600 with `owner_only`.
    """
    kept = _kept_permissions(place)
    folder = place.folder
    usual = not owner_only and kept is None
    descriptor, temporary = _create(folder, _READ_AND_WRITE_BITS if usual else _OWNER_ONLY)
    try:
        yield descriptor
        if kept is not None:
            os.fchmod(descriptor, kept)
        os.fsync(descriptor)
        if temporary is None:
            temporary = _link(descriptor, folder)
        os.rename(temporary, place.name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
        temporary = None
    finally:
        os.close(descriptor)
        _remove(folder, temporary)


def open_special(place: Place, on_wait: Callable[[], None]) -> int:
    """Opens it for writing. `on_wait` is called if a pipe has no reader yet."""
    if place.is_inherited:
        # The same open file: what was written before, and who else writes to it, are respected.
        return os.dup(int(place.name))
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC
    assert place.status is not None
    if not stat.S_ISFIFO(place.status.st_mode):
        return os.open(place.entry_path, flags)
    try:
        descriptor = os.open(place.entry_path, flags | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        on_wait()
        return os.open(place.entry_path, flags)
    os.set_blocking(descriptor, True)
    return descriptor


def _kept_permissions(place: Place) -> int | None:
    """The permissions of the regular file that is replaced, if it is ours and has no other name."""
    status = place.status
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    if status.st_uid != os.geteuid() or status.st_nlink != 1:
        return None
    return status.st_mode & _READ_AND_WRITE_BITS


def _create(folder: Folder, permissions: int) -> tuple[int, str | None]:
    """Creates a file, with `permissions` less the umask. Returns its name if it had to have one."""
    flags = os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(".", flags | os.O_TMPFILE, permissions, dir_fd=folder.descriptor), None
    except OSError as error:
        # Some file systems (NFS, older overlays) do not support unnamed files.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    name = _unused_name()
    exclusive = flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return os.open(name, exclusive, permissions, dir_fd=folder.descriptor), name


def _link(descriptor: int, folder: Folder) -> str:
    """Gives the file a temporary name, so that it can be renamed over another file."""
    name = _unused_name()
    os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder.descriptor)
    return name


def _unused_name() -> str:
    return f".pystack-{secrets.token_hex(12)}"


def _remove(folder: Folder, name: str | None) -> None:
    if name is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder.descriptor)
