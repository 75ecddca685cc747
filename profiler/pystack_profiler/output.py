"""The output file: its name, the check before recording, and atomic writing."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, TextIO, overload

from pystack.cli.screen import guarded
from pystack.safe_files import check_place, new_file, open_special
from pystack.safe_paths import find_place

STDOUT = "-"


def expand(pattern: str, pid: int, time_ns: int | None = None) -> str:
    """Replaces `%p` by the pid, `%t` by the time as `20260131T235959Z` (UTC, so that names sort by time) and
    `%%` by a percent sign. `time_ns`: since 1970; None: now."""
    seconds = time.time() if time_ns is None else time_ns / 1e9
    values = {"p": str(pid), "t": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds)), "%": "%"}
    pieces: list[str] = []
    position = 0
    while (percent := pattern.find("%", position)) >= 0:
        following = pattern[percent + 1 : percent + 2]
        pieces += [pattern[position:percent], values.get(following, "%" + following)]
        position = percent + 2
    return "".join([*pieces, pattern[position:]])


def check_writable(path: str) -> None:
    """Raises the OSError that writing would raise, if that can be known in advance."""
    if path != STDOUT:
        with find_place(path) as place:
            check_place(place)


@overload
def replacing(
    path: str,
    *,
    binary: Literal[False] = False,
    owner_only: bool = False,
    on_wait: Callable[[], None] = ...,
) -> AbstractContextManager[TextIO]: ...
@overload
def replacing(
    path: str, *, binary: bool, owner_only: bool = False, on_wait: Callable[[], None] = ...
) -> AbstractContextManager[IO[Any]]: ...
@contextmanager
def replacing(
    path: str,
    *,
    binary: bool = False,
    owner_only: bool = False,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[Any]:
    """Yields a stream of text, or of bytes if `binary`. At the end, the complete file appears under `path` at once.

    An exception in the block leaves an existing file unchanged. Symbolic links are followed, except
    those that another user may have planted. Devices and pipes are written to directly; `on_wait` is
    called before waiting for the reader of a pipe. With `owner_only`, only its owner can read a new
    file.
    """
    if path == STDOUT:
        yield from _binary_stdout() if binary else _stdout()
        return
    how: dict[str, Any] = {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8"}
    with find_place(path) as place:
        if place.is_special:
            with open(open_special(place, on_wait), **how) as stream:
                yield stream
            return
        with (
            new_file(place, owner_only=owner_only) as descriptor,
            open(descriptor, **how, closefd=False) as stream,
        ):
            yield stream


def is_replaceable(path: str) -> bool:
    """Whether a file is created for it. Not for pipes, devices and stdout, which are written to."""
    if path == STDOUT:
        return False
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def other_paths(path: str) -> Iterator[str]:
    """Where else a file may go if `path` was taken or removed by another user: names that nobody can
    guess, in the same folder, the working folder and the folder of temporary files."""
    name = Path(path)
    unused = f"{name.stem}-{secrets.token_hex(6)}{name.suffix}"
    yield str(name.parent / unused)
    for folder in (os.getcwd, tempfile.gettempdir):
        with suppress(OSError):  # There may be none.
            yield str(Path(folder(), unused))


def only_owner_can_read(path: str) -> bool:
    """Whether it is a regular file that only its owner (and root) can open."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and not mode & (stat.S_IRGRP | stat.S_IROTH)


def _stdout() -> Iterator[TextIO]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    with _broken_pipe_closed():
        yield guarded(sys.stdout) if sys.stdout.isatty() else sys.stdout
        sys.stdout.flush()


def _binary_stdout() -> Iterator[BinaryIO]:
    if sys.stdout.isatty():
        raise OSError(errno.ENOTSUP, "a terminal does not show binary data")
    with _broken_pipe_closed():
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


@contextmanager
def _broken_pipe_closed() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # The reader is gone, for example `head`. Nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
