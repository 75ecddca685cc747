"""Where the file goes: its name, the check before the work, and the write that loses nothing."""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

STDOUT = "-"


def expand(pattern: str, pid: int) -> str:
    """`%p` becomes the pid, `%t` the local time, `%%` a percent sign; others stay as they are."""
    values = {"p": str(pid), "t": time.strftime("%Y%m%d-%H%M%S"), "%": "%"}
    pieces: list[str] = []
    position = 0
    while (percent := pattern.find("%", position)) >= 0:
        following = pattern[percent + 1 : percent + 2]
        pieces += [pattern[position:percent], values.get(following, "%" + following)]
        position = percent + 2
    return "".join([*pieces, pattern[position:]])


def check_writable(path: str) -> None:
    """Raises the OSError that writing would end in, as far as that can be known before."""
    if path == STDOUT:
        return
    real = Path(os.path.realpath(path))
    if _is_special(real):
        with real.open("ab"):
            return
    if real.is_dir():
        raise IsADirectoryError(21, "is a directory", path)
    if real.exists() and not os.access(real, os.W_OK):
        raise PermissionError(13, "the file is read-only", path)
    with tempfile.TemporaryFile(dir=real.parent):
        pass


@contextmanager
def replacing(path: str) -> Iterator[TextIO]:
    """A text stream whose content appears under `path` at the end, at once and whole.

    An exception inside leaves a file of that name as it was. Symbolic links are followed; devices
    and pipes are written to directly.
    """
    if path == STDOUT:
        yield from _stdout()
        return
    real = Path(os.path.realpath(path))
    if _is_special(real):
        with real.open("w", encoding="utf-8") as stream:
            yield stream
        return
    descriptor, temporary = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name[:100]}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream
            os.fchmod(descriptor, _mode(real))
        Path(temporary).replace(real)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _stdout() -> Iterator[TextIO]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left, as `head` does. Nothing more may be written, not even at our end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _is_special(path: Path) -> bool:
    """Pipes, terminals and devices: never to be replaced by a file."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _mode(path: Path) -> int:
    """Of the file to be replaced, or what a new file gets."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
