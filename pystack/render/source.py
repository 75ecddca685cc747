"""Lines of the target's source files, and the running expression within one.

The files are looked up where the target sees them, and read with the care that input of unknown
origin needs: a path can name a device, a pipe, a link out of a container, or gigabytes.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import NamedTuple

from pystack.render.escape import escape

_MAX_FILE_BYTES = 16 << 20
_MAX_LINE_CHARS = 240
_MAX_LINKS = 40  # as the kernel
# The start of a process is known to a clock tick, the time of a file to a tick of another clock.
_CLOCK_SLACK_S = 1.0


class SourceFile(NamedTuple):
    """A file cut into lines, not yet decoded."""

    lines: list[bytes]
    encoding: str
    #: Whether it was written or replaced after the process had started.
    changed: bool

    def line(self, number: int) -> str | None:
        """A line, counted from 1, without its end; None where the file has no such line."""
        if not 1 <= number <= len(self.lines):
            return None
        try:
            return self.lines[number - 1].decode(self.encoding, "replace")
        except (LookupError, UnicodeError):
            return self.lines[number - 1].decode("utf-8", "replace")


class SourceReader:
    """Finds and keeps the source files of one process."""

    def __init__(self, pid: int, proc: str = "/proc") -> None:
        self._directory = f"{proc}/{pid}"
        self._files: dict[str, SourceFile | None] = {}
        self._start: float | None = None

    def file(self, path: str) -> SourceFile | None:
        """The file as the target would open it; None where there is none that can be read."""
        if path not in self._files:
            self._files[path] = None if _has_no_file(path) else self._read(path)
        return self._files[path]

    def _read(self, path: str) -> SourceFile | None:
        if self._start is None:
            self._start = start_time(self._directory)
        root = f"{self._directory}/root"
        # The change time also moves when a file is replaced by one that keeps its older date.
        base = f"{self._directory}/{'root' if path.startswith('/') else 'cwd'}"
        return _source_file(root, base, path, self._start, by_change_time=True)


class CoreSourceReader(SourceReader):
    """Finds the source files of a dead process: in a copy of its root, or else on this machine."""

    def __init__(self, written_ns: int, root: str | None = None) -> None:
        super().__init__(0)
        self._written = written_ns / 1e9
        self._root = root

    def _read(self, path: str) -> SourceFile | None:
        # A relative path was relative to a folder that the core does not name.
        if not path.startswith("/"):
            return None
        if self._root is not None:
            # Copying moves the change time.
            found = _source_file(self._root, self._root, path, self._written, by_change_time=False)
            if found is not None:
                return found
        return _source_file("", "", path, self._written, by_change_time=True)


def _has_no_file(path: str) -> bool:
    return not path or path.startswith("<") or "\0" in path


def _source_file(
    root: str, base: str, path: str, newest: float, *, by_change_time: bool
) -> SourceFile | None:
    """`path` as seen from `base`; it counts as changed where it is newer than `newest`."""
    try:
        # Not following the last link, not waiting for a pipe's writer, not becoming a
        # terminal's session: the path was resolved already, and may be anything.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(resolve(root, base, path), flags)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_FILE_BYTES:
            return None
        data = _read_all(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    time_s = max(status.st_mtime, status.st_ctime) if by_change_time else status.st_mtime
    encoding, data = _encoding(data)
    return SourceFile(data.splitlines(), encoding, time_s > newest + _CLOCK_SLACK_S)


def resolve(root: str, base: str, path: str) -> str:
    """The path to open for `path`, as seen from the folder `base` by who has `root` as root.

    Links are followed here and not by the kernel, which would take an absolute one from our root
    and not from the target's.
    """
    todo = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if done and done[-1] != "..":
                done.pop()
            elif base != root:
                done.append(part)
            continue
        try:
            link = os.readlink("/".join((base, *done, part)))  # noqa: PTH115 (start-up time)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: not a link
                raise
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if link.startswith("/"):
            base, done = root, []
        todo += link.split("/")[::-1]
    return "/".join((base, *done))


def start_time(directory: str) -> float:
    """When the process started, in seconds of the realtime clock; infinite if unknown."""
    try:
        with open(f"{directory}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        ticks = int(fields[19])
    except (OSError, IndexError, ValueError):
        return float("inf")
    now_since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - now_since_boot + ticks / os.sysconf("SC_CLK_TCK")


def _read_all(descriptor: int) -> bytes:
    chunks = []
    rest = _MAX_FILE_BYTES
    while rest > 0 and (chunk := os.read(descriptor, min(rest, 1 << 20))):
        chunks.append(chunk)
        rest -= len(chunk)
    return b"".join(chunks)


def _encoding(data: bytes) -> tuple[str, bytes]:
    """What the file says it is encoded in, and its bytes without a byte order mark."""
    if data.startswith(b"\xef\xbb\xbf"):
        return "utf-8", data[3:]
    head = data[:400]
    if b"coding" not in head:
        return "utf-8", data
    from tokenize import detect_encoding

    lines = iter(data.splitlines(keepends=True)[:2])
    try:
        return detect_encoding(lambda: next(lines, b""))[0], data
    except SyntaxError:
        return "utf-8", data


class MarkedLine(NamedTuple):
    """A stripped and escaped line in three parts; the running expression is the second.

    `marked` is empty where there is nothing to tell apart: no columns known, or all of the line.
    """

    before: str
    marked: str
    after: str


def mark(
    line: str, column: int | None, end_column: int | None, *, ends_here: bool, full: bool = False
) -> MarkedLine:
    """Finds the expression that runs from `column` to `end_column`, UTF-8 byte offsets.

    With `ends_here` false it goes on in the lines below, and is marked to the end of this one.
    Lines longer than a screen can use are cut unless `full`.
    """
    text = line.rstrip(" \t\f\r\n")
    first = len(text) - len(text.lstrip(" \t\f"))
    start = end = first
    if column is not None and column >= 0:
        start = max(_char_index(text, column), first)
        if not ends_here:
            end = len(text)
        elif end_column is not None and end_column > column:
            end = _char_index(text, end_column)
    if end <= start or (start == first and end == len(text)):
        start = end = len(text)
    cut = len(text) if full else first + _MAX_LINE_CHARS
    parts = [
        _clean(text[first : min(start, cut)]),
        _clean(text[start : min(end, cut)]),
        _clean(text[end:cut]),
    ]
    if len(text) > cut:
        parts[2] += "..."
    return MarkedLine(*parts)


def _char_index(text: str, offset: int) -> int:
    if text.isascii():
        return min(offset, len(text))
    return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace"))


def _clean(text: str) -> str:
    return escape(text.replace("\t", " "))
