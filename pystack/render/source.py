"""Lines of the target's source files, and the running expression within a line.

The target chooses the file names, so the C++ core opens these files with the target's rights, below
its root, and only if they are regular files.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from contextlib import suppress

from pystack.render.escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NamedTuple

    from pystack._core import Files
    from pystack.model import CoreDetails
else:
    from pystack.named_tuple import NamedTuple

_MAX_FILE_BYTES = 16 << 20
#: For all files of one reader together.
MAX_TOTAL_BYTES = 64 << 20
_BLOCK_BYTES = 4096
_MAX_LINE_CHARS = 240
_CHARS_BEFORE_MARK = 40
_ELLIPSIS = "..."
# The start of a process and the time of a file are rounded to ticks of different clocks.
_CLOCK_SLACK_S = 1.0


class SourceFile:
    """A file in memory that returns single lines."""

    def __init__(self, data: bytes, *, changed: bool) -> None:
        """`changed`: the file was written or replaced after the process started."""
        self.changed = changed
        self._encoding, data = _encoding(data)
        # Like the tokenizer, treat all three line ends alike.
        self._data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data
        self._ends_before: list[int] = []

    def line(self, number: int) -> str | None:
        """Line `number`, counted from 1, without its end; None if the file has no such line."""
        begin = 0 if number == 1 else self._behind_end(number - 1)
        if begin is None or begin >= len(self._data):
            return None
        end = self._data.find(b"\n", begin)
        line = self._data[begin : len(self._data) if end < 0 else end]
        try:
            return line.decode(self._encoding, "replace")
        except (LookupError, UnicodeError):
            return line.decode("utf-8", "replace")

    def _behind_end(self, number: int) -> int | None:
        """Where the line after the `number`-th begins.

        Counts line ends per block, because a list of all lines can be 40 times as large as the file.
        """
        if number < 1:
            return None
        if not self._ends_before:
            count = 0
            for begin in range(0, len(self._data), _BLOCK_BYTES):
                self._ends_before.append(count)
                count += self._data.count(b"\n", begin, begin + _BLOCK_BYTES)
        block = max(bisect_left(self._ends_before, number) - 1, 0)
        at = block * _BLOCK_BYTES
        for _ in range(number - self._ends_before[block] if self._ends_before else 1):
            at = self._data.find(b"\n", at) + 1
            if at == 0:
                return None
        return at


class Place(NamedTuple):
    """A place where source files are searched."""

    files: Files
    #: Whether a new change time means a changed file. In a copy it does not: copying sets it.
    by_change_time: bool


class SourceReader:
    """Finds and caches the source files of one process."""

    def __init__(self, places: Sequence[Place], newest: float) -> None:
        """A file counts as changed if it is newer than `newest`, in seconds since 1970."""
        self._places = places
        self._newest = newest
        self._files: dict[str, SourceFile | None] = {}
        # One file can have many names.
        self._by_inode: dict[tuple[int, int], SourceFile] = {}
        self._bytes_left = MAX_TOTAL_BYTES
        #: Existing files that are too large to show, or not readable with the target's rights.
        self.left_out: set[str] = set()
        self.refused: set[str] = set()

    @classmethod
    def of_process(cls, pid: int) -> SourceReader:
        """Call this before the process is read: see `ProcessFiles` in the C++ core."""
        from pystack import _core

        try:
            files = _core.process_files(pid)
        except (OSError, TypeError):  # TypeError: the number is too large for a pid.
            return cls((), 0)
        # The change time also reveals a replacement that kept an older modification time.
        return cls((Place(files, by_change_time=True),), start_time(f"/proc/{pid}"))

    @classmethod
    def of_core(cls, core: CoreDetails, roots: Sequence[str]) -> SourceReader:
        """For a dead process: searches copies of its root, then this machine.

        Relative paths are not found, because the core does not name the working folder.
        """
        from pystack import _core

        places = []
        for root in roots:
            with suppress(OSError):
                places.append(Place(_core.folder_files(root), by_change_time=False))
        here = _core.core_files(core.written_by, core.uid)
        places.append(Place(here, by_change_time=True))
        return cls(places, core.written_ns / 1e9)

    @classmethod
    def of_recording(cls, began: float) -> SourceReader:
        """For a process that is over, or on another machine, whose names may be forged: files of this machine.

        They are opened with the caller's rights; for root, who may read everything, only those that everyone may
        read. `began`: when the recording began, in seconds since 1970.
        """
        from pystack import _core

        is_root = os.geteuid() == 0
        files = _core.core_files(None, None) if is_root else _core.folder_files("/")
        return cls((Place(files, by_change_time=True),), began)

    def file(self, path: str) -> SourceFile | None:
        """The file that the target would open; None if it cannot be read."""
        if path not in self._files:
            self._files[path] = None if _has_no_file(path) else self._find(path)
        return self._files[path]

    def _find(self, path: str) -> SourceFile | None:
        for place in self._places:
            try:
                descriptor = place.files.open(os.fsencode(path))
            except PermissionError:
                self.refused.add(path)
                continue
            except (OSError, ValueError):
                continue
            try:
                return self._read(descriptor, path, by_change_time=place.by_change_time)
            except OSError:
                continue
            finally:
                os.close(descriptor)
        return None

    def _read(self, descriptor: int, path: str, *, by_change_time: bool) -> SourceFile | None:
        status = os.fstat(descriptor)
        inode = (status.st_dev, status.st_ino)
        if inode in self._by_inode:
            return self._by_inode[inode]
        if status.st_size > min(_MAX_FILE_BYTES, self._bytes_left):
            self.left_out.add(path)
            return None
        data = _read_all(descriptor, status.st_size)
        self._bytes_left -= len(data)
        time_s = max(status.st_mtime, status.st_ctime) if by_change_time else status.st_mtime
        file = SourceFile(data, changed=time_s > self._newest + _CLOCK_SLACK_S)
        self._by_inode[inode] = file
        return file


def _has_no_file(path: str) -> bool:
    return not path or path.startswith("<") or "\0" in path


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


def _read_all(descriptor: int, size: int) -> bytes:
    chunks = []
    rest = size
    while rest > 0 and (chunk := os.read(descriptor, min(rest, 1 << 20))):
        chunks.append(chunk)
        rest -= len(chunk)
    return b"".join(chunks)


def _encoding(data: bytes) -> tuple[str, bytes]:
    """The encoding that the file declares, and its bytes without a byte order mark."""
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
    """A stripped and escaped line in three parts; the second is the running expression.

    `marked` is empty if the columns are unknown or the expression is the whole line.
    """

    before: str
    marked: str
    after: str


def mark(
    line: str, column: int | None, end_column: int | None, *, ends_here: bool, full: bool = False
) -> MarkedLine:
    """Finds the expression between `column` and `end_column`, which are UTF-8 byte offsets.

    If `ends_here` is false, it continues on the next lines and is marked to the end of this one.
    Of a long line the part around the expression is returned, unless `full`.
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
    begin, cut = (first, len(text)) if full else _window(first, len(text), start, end)
    return MarkedLine(
        (_ELLIPSIS if begin > first else "") + _clean(text[begin : min(start, cut)]),
        _clean(text[start : min(end, cut)]),
        _clean(text[end:cut]) + (_ELLIPSIS if cut < len(text) else ""),
    )


def _window(first: int, last: int, start: int, end: int) -> tuple[int, int]:
    """Which part of the text from `first` to `last` is shown, with `start` to `end` marked in it."""
    begin = first
    if start < end and end > first + _MAX_LINE_CHARS:
        around = max(_MAX_LINE_CHARS - (end - start), 2 * _CHARS_BEFORE_MARK)
        begin = max(min(start - around // 2, last - _MAX_LINE_CHARS), first)
    cut = begin + _MAX_LINE_CHARS
    # An ellipsis must not be longer than what it hides.
    return (
        first if begin - first <= len(_ELLIPSIS) else begin,
        last if last - cut <= len(_ELLIPSIS) else cut,
    )


def _char_index(text: str, offset: int) -> int:
    if text.isascii():
        return min(offset, len(text))
    return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace"))


def _clean(text: str) -> str:
    return escape(text.replace("\t", " "))
