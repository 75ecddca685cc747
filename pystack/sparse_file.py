"""The file that a core is unpacked to: blocks of zeros use no disk space, and the size is limited."""

from __future__ import annotations

import errno
import os
from typing import BinaryIO

from .errors import CoreError, SystemFailure

_HEAD_BYTES = 4
#: Blocks of this size become holes if they are all zeros.
_BLOCK_BYTES = 64 << 10
_ZEROS = bytes(_BLOCK_BYTES)
#: How often the free disk space is checked, and how much of it must stay free.
_CHECK_EVERY_BYTES = 64 << 20
_RESERVE_BYTES = 64 << 20


class SparseFile:
    """Writes a file from its beginning to its end, leaving holes for blocks of zeros."""

    def __init__(self, file: BinaryIO, path: str, folder: str, limit: int) -> None:
        """Unpacks the core `path` to `file` in `folder`, to at most `limit` bytes."""
        self.file = file
        self._path = path
        self._folder = folder
        self._limit = limit
        self._unchecked = 0
        self.size = 0
        self.head = b""

    def write(self, data: bytes) -> None:
        self.check_limit(self.size + len(data))
        if len(self.head) < _HEAD_BYTES:
            self.head += data[:_HEAD_BYTES]
        begin = 0
        while begin < len(data):
            # Blocks are aligned in the file, independent of the sizes of the pieces.
            end = min(begin + _BLOCK_BYTES - self.size % _BLOCK_BYTES, len(data))
            block = data[begin:end]
            if block != _ZEROS[: len(block)]:
                self._write_at(self.size, block)
            self.size += len(block)
            begin = end

    def read(self, offset: int, size: int) -> bytes:
        """Reads back what was written, up to the last block that is not all zeros."""
        return os.pread(self.file.fileno(), size, offset)

    def check_limit(self, size: int) -> None:
        if size > self._limit:
            raise CoreError(
                f"{self._path} exceeds {self._limit >> 20} MiB when it is unpacked",
                hint="Raise the limit with max_unpacked=..., if you trust its author.",
            )

    def check_space(self, wanted: int) -> None:
        status = os.fstatvfs(self.file.fileno())
        free = status.f_bavail * status.f_frsize
        if free < wanted + _RESERVE_BYTES:
            raise self._no_space(
                f"{wanted >> 20} MiB more are needed, but only {free >> 20} MiB are free"
            )

    def finish(self) -> None:
        os.ftruncate(self.file.fileno(), self.size)

    def _write_at(self, offset: int, block: bytes) -> None:
        if self._unchecked >= _CHECK_EVERY_BYTES:
            self.check_space(_CHECK_EVERY_BYTES)
            self._unchecked = 0
        self._unchecked += len(block)
        view = memoryview(block)
        try:
            while view:
                written = os.pwrite(self.file.fileno(), view, offset)
                view = view[written:]
                offset += written
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._no_space(error.strerror or "the disk is full") from None

    def _no_space(self, reason: str) -> SystemFailure:
        return SystemFailure(
            f"not enough disk space in {self._folder} to unpack {self._path}: {reason}",
            errno=errno.ENOSPC,
            hint="Set TMPDIR to a folder on a larger disk.",
        )
