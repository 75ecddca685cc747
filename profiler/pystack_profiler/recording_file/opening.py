"""Opens recording files. They may be damaged or made by an enemy, and are never written to."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from pystack.render.escape import escape

from .schema import APPLICATION_ID, VERSION, BadRecordingFile, tables_of

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_VERSION_AT, _APPLICATION_AT = 60, 68
_JOURNAL_MODES = slice(18, 20)  # for writing and reading
_NO_WRITE_AHEAD_LOG = b"\x01\x01"

#: The end of a journal that names another file, which SQLite would delete. Ours never do.
_NAMES_ANOTHER_FILE = bytes.fromhex("d9d505f920a163d7")


def is_recording_file(path: str) -> bool:
    """Whether it looks like one. Raises OSError if it cannot be read."""
    header = _header(path)
    return header.startswith(_MAGIC) and _number(header, _APPLICATION_AT) == APPLICATION_ID


@contextlib.contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """A connection to a recording file, which may still grow. Raises `BadRecordingFile` or OSError."""
    _check_header(path)
    try:
        with contextlib.closing(_connect(path)) as connection:
            recovers = _needs_recovery(connection)
            if not recovers:
                _check_tables(connection, path)
                connection.execute("BEGIN")  # All that is read is of the same moment.
                yield connection
                return
        with tempfile.TemporaryDirectory(prefix="pystack-") as folder:
            copy = _recovered_copy(path, folder)
            with contextlib.closing(_connect(copy)) as connection:
                _check_tables(connection, path)
                yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise BadRecordingFile(f"{path} is damaged: {error}") from error


def _header(path: str) -> bytes:
    # A pipe would block, and SQLite cannot read it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadRecordingFile(f"{path} is not a regular file")
        return os.read(descriptor, _HEADER_BYTES)
    finally:
        os.close(descriptor)


def _number(header: bytes, at: int) -> int:
    return int.from_bytes(header[at : at + 4], "big")


def _check_header(path: str) -> None:
    header = _header(path)
    if not header.startswith(_MAGIC) or _number(header, _APPLICATION_AT) != APPLICATION_ID:
        raise BadRecordingFile(
            f"{path} is not a recording of pystack",
            hint="`pystack record -o NAME.pystack` writes one. Of the other formats, only HTML can be read"
            " back, by `pystack report`.",
        )
    # SQLite would open the files of a write-ahead log for writing, wherever a link leads.
    if os.path.lexists(f"{path}-wal"):
        raise BadRecordingFile(f"{path}-wal is not one of pystack's files; remove it")
    if header[_JOURNAL_MODES] != _NO_WRITE_AHEAD_LOG:
        raise BadRecordingFile(
            f"{path} was changed by another program: it has a write-ahead log",
            hint="`PRAGMA journal_mode = DELETE` in that program takes it back.",
        )
    if _number(header, _VERSION_AT) > VERSION:
        raise BadRecordingFile(
            f"{path} was written by a newer version of pystack",
            hint="Read it with that version, or a later one.",
        )


def _connect(path: str, mode: str = "ro") -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"  # noqa: PTH100 (bytes)
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _needs_recovery(connection: sqlite3.Connection) -> bool:
    """Whether the recorder was killed in the middle of a transaction."""
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        # SQLITE_READONLY_ROLLBACK or SQLITE_CANTOPEN; the codes have names since Python 3.11 only.
        if "readonly" in str(error) or "unable to open" in str(error):
            return True
        raise
    return False


def _recovered_copy(path: str, folder: str) -> str:
    """A copy in which the unfinished transaction was undone."""
    copy = Path(folder, "recording")
    shutil.copyfile(path, copy)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(f"{path}-journal", f"{copy}-journal")
        with open(f"{copy}-journal", "rb") as journal:
            journal.seek(max(0, journal.seek(0, os.SEEK_END) - len(_NAMES_ANOTHER_FILE)))
            if journal.read() == _NAMES_ANOTHER_FILE:
                raise BadRecordingFile(f"the journal of {path} is not one of pystack's")
    with contextlib.closing(_connect(str(copy), "rw")) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return str(copy)


def _check_tables(connection: sqlite3.Connection, path: str) -> None:
    """A table with another definition could be a view that never ends, and an index could answer what its table does not
    say. Views and triggers that somebody added do nothing: views are not read, and triggers do not fire unless something is
    written."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    found = {name: sql for type, name, sql in rows if type == "table"}
    ((version,),) = connection.execute("PRAGMA user_version")
    if any(found.get(name) != statement for name, statement in tables_of(version).items()):
        raise BadRecordingFile(f"{path} is damaged: its tables are not those of a recording")
    added = [name for type, name, sql in rows if type == "index" and sql is not None]
    if added:
        raise BadRecordingFile(
            f"{path} was changed by another program: it has indexes",
            hint=f"`DROP INDEX` in that program removes them: {escape(', '.join(added[:5]))}.",
        )
