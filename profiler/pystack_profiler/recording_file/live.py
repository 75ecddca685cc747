"""A recording file that grows while its recording runs, so that little is lost if the recorder is killed.

SQLite opens files by path, follows links, and uses files beside the database. So the file grows only in
a folder that nobody else can write to. If the wanted place is not such a folder, for example /tmp, the
file grows in a new folder of ours, and takes its place at the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pystack.safe_files import check_place, new_file
from pystack.safe_paths import Folder, Place, find_folder, find_place, fixed_path, place_in

from ..batch import Batch
from ..profile import Profile, Recording
from .schema import create
from .writer import RecordingWriter

#: The time between two transactions. With the age of a batch, less than a second can be lost.
_FLUSH_EVERY_S = 0.5

_JOURNAL = "-journal"


class LiveFile:
    """Takes the batches of a recording, and writes them to the disk once or twice a second."""

    def __init__(self, path: str, recording: Recording) -> None:
        """Creates the file, or replaces it. Raises OSError if that fails. `path` is a regular file or
        none."""
        self.path = path
        #: Where the data is until `close`.
        self.growing_path = path
        self._own_folder: str | None = None
        with find_place(path) as place:
            check_place(place)
            folder_path = fixed_path(place.folder)
            if folder_path is None:
                folder_path = self._own_folder = _new_folder(place.folder)
                try:
                    with place_in(find_folder(folder_path), place.name) as own_place:
                        _begin(own_place)
                except OSError:  # such as a full disk
                    with contextlib.suppress(OSError):
                        Path(folder_path).rmdir()
                    raise
            else:
                _begin(place)
            self._database = str(Path(folder_path, place.name))
        if self._own_folder is not None:
            self.growing_path = self._database
        with _as_os_error(self.growing_path):
            self._connection = sqlite3.connect(self._database, isolation_level=None, timeout=10)
            # In a database that only grows, a journal is smaller than a write-ahead log, and the file
            # is complete without it between transactions. It is truncated, never created by name.
            self._connection.execute("PRAGMA journal_mode = TRUNCATE")
            self._connection.execute("PRAGMA synchronous = FULL")
        self._writer = RecordingWriter(self._connection, recording.began_ns)
        self._flush_every_s = _FLUSH_EVERY_S
        self._flush_at_s = 0.0
        self.update(recording)  # Its begin is known whatever comes.

    def append(self, profile: Profile, batch: Batch) -> None:
        self._writer.append(profile, batch)

    def update(self, recording: Recording) -> None:
        """Writes what came since the last time, if that is long enough ago. Raises OSError."""
        now_s = time.monotonic()
        if now_s >= self._flush_at_s:
            with _as_os_error(self.growing_path):
                self._writer.flush(recording)
            self._flush_at_s = now_s + self._flush_every_s

    def close(self, recording: Recording) -> None:
        """Writes the rest, and puts the file in its place. Raises OSError; what was written stays."""
        try:
            with _as_os_error(self.growing_path):
                self._writer.finish(recording)
                self._connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            self._connection.close()
        if self._own_folder is not None:
            self._move()

    def abandon(self) -> None:
        """Ends it without the rest. What was written stays."""
        self._connection.close()
        journal = Path(self._database + _JOURNAL)
        with contextlib.suppress(FileNotFoundError):
            if not journal.stat().st_size:  # else it undoes a transaction that was cut
                journal.unlink()

    def discard(self) -> None:
        """Removes the file: there was nothing to record."""
        self._connection.close()
        for name in (self._database, self._database + _JOURNAL):
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
        if self._own_folder is not None:
            Path(self._own_folder).rmdir()

    def _move(self) -> None:
        assert self._own_folder is not None
        with find_place(self.path) as place:
            if place.is_special:
                raise FileExistsError(errno.EEXIST, "is no regular file any more", self.path)
            with new_file(place, owner_only=True) as target, open(self._database, "rb") as source:
                while data := source.read(1 << 20):
                    _write(target, data)
            # A power cut must leave one of the two.
            _sync_folder(place.folder)
        Path(self._database).unlink()
        Path(self._own_folder).rmdir()
        self.growing_path = self.path


def _new_folder(beside: Folder) -> str:
    """Creates a folder that nobody else can enter or replace, near the other one if possible."""
    near = os.readlink(f"/proc/self/fd/{beside.descriptor}")  # noqa: PTH115 (as in safe_files)
    for parent in (near, tempfile.gettempdir()):
        path = tempfile.mkdtemp(prefix=".pystack-", dir=parent)
        folder = find_folder(path)
        is_fixed = fixed_path(folder) == path
        folder.close()
        if is_fixed:
            with contextlib.closing(find_folder(parent)) as above:
                _sync_folder(above)  # so that a power cut leaves it
            return path
        Path(path).rmdir()
    raise PermissionError(errno.EPERM, "other users can replace what is in that folder", near)


def _sync_folder(folder: Folder) -> None:
    """Puts the names in it on the disk, as far as the filesystem does that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(".", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder.descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _begin(place: Place) -> None:
    """Puts an empty recording file in the place, and an empty journal beside it."""
    folder = place.folder.descriptor
    journal = place.name + _JOURNAL
    # That of a file of this name which is replaced now: it would be applied to the new one.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(journal, dir_fd=folder)
    with new_file(place, owner_only=True) as descriptor:
        _write(descriptor, empty_file())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(journal, flags, stat.S_IRUSR | stat.S_IWUSR, dir_fd=folder))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def empty_file() -> bytes:
    """A recording file without rows."""
    with tempfile.TemporaryDirectory(prefix="pystack-") as folder:
        path = Path(folder, "empty")
        connection = sqlite3.connect(path, isolation_level=None)
        with contextlib.closing(connection):
            create(connection)
        return path.read_bytes()


@contextlib.contextmanager
def _as_os_error(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(errno.EIO, f"{error}", path) from error
