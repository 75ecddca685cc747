"""Compressed core files, as systemd-coredump and people make them: gzip, zstd, lz4 and xz.

The core is unpacked to a temporary file without a name, readable by nobody else, which the kernel
removes when this process ends, however it ends:

    with unpack("core.python.zst") as core:
        open_core(core.path)

Blocks of zeros become holes. Data that is cut off or damaged is unpacked as far as it goes, and
`problem` says why it does not go further; only a file that cannot be a core at all is an error.
"""

from __future__ import annotations

import errno
import os
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from .errors import CoreTruncated, NotACore, PystackError, SystemFailure

_ELF_MAGIC = b"\x7fELF"
_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
}

_INPUT_BYTES = 256 << 10
_OUTPUT_BYTES = 1 << 20
#: Zeros are looked for in blocks of this size.
_BLOCK_BYTES = 64 << 10
_ZEROS = bytes(_BLOCK_BYTES)
#: How often the free disk space is asked for, and how much of it is left to others.
_CHECK_EVERY_BYTES = 64 << 20
_RESERVE_BYTES = 64 << 20
#: No process has more; what claims to be bigger is a decompression bomb.
_MAX_BYTES = 16 << 40
#: `xz -9` needs 65 MiB.
_XZ_MEMORY_BYTES = 256 << 20

#: Called with the compressed bytes read, their total, and the bytes unpacked.
Progress = Callable[[int, int, int], None]


class _Decompressor(Protocol):
    """One compressed stream. lzma, zstd and lz4 have it in this form."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipDecompressor:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


@dataclass
class UnpackedCore:
    """An unpacked core; `path` opens it as long as this object is not closed."""

    file: BinaryIO
    path: str
    compression: str
    size: int
    #: Why there may be more in the original than was unpacked; None when all of it was.
    problem: str | None

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> UnpackedCore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def compression_of(path: str | os.PathLike[str]) -> str | None:
    """The name of the compression by the file's first bytes, None for any other file."""
    try:
        with open(path, "rb") as file:
            return _compression(file.read(8))
    except OSError as error:
        raise _system_failure(error) from error


def unpack(
    path: str | os.PathLike[str],
    *,
    folder: str | None = None,
    progress: Progress | None = None,
) -> UnpackedCore:
    """Unpacks a compressed core into `folder`; by default TMPDIR, /var/tmp or what tempfile says.

    Raises NotACore when the file is not compressed or holds something else, CoreTruncated when
    nothing could be unpacked, SystemFailure when the disk is too small or a file operation fails.
    """
    try:
        with open(path, "rb") as source:
            head = source.read(32)
            source.seek(0)
            compression = _compression(head)
            if compression is None:
                raise NotACore(f"{path} is not compressed in a way that is known")
            decompressor = _decompressor_class(compression)
            target = _private_file(folder or _default_folder())
            try:
                return _unpack_to(source, target, str(path), compression, decompressor, progress)
            except BaseException:
                target.close()
                raise
    except OSError as error:
        raise _system_failure(error) from error


def _unpack_to(
    source: BinaryIO,
    target: BinaryIO,
    path: str,
    compression: str,
    decompressor: Callable[[], _Decompressor],
    progress: Progress | None,
) -> UnpackedCore:
    status = os.fstat(source.fileno())
    promised = _promised_size(source, compression)
    if promised is not None:
        _check_space(target, promised, path)
    output = _SparseWriter(target, path)
    problem = None
    for data in (stream := _Stream(source, compression, decompressor)):
        if output.size < len(_ELF_MAGIC):
            head = (output.head + data)[: len(_ELF_MAGIC)]
            if not _ELF_MAGIC.startswith(head):
                raise NotACore(f"{path} is {compression} data, but of something else than a core")
        output.write(data)
        if progress is not None:
            progress(stream.consumed, status.st_size, output.size)
        if output.size > _MAX_BYTES:
            problem = f"it was unpacked only up to {_MAX_BYTES >> 40} TiB"
            break
    problem = problem or stream.problem
    if output.size == 0:
        raise CoreTruncated(f"nothing of {path} can be unpacked: {problem or 'it is empty'}")
    output.finish()
    # The reader takes the time of the core from its file.
    os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
    name = f"/proc/self/fd/{target.fileno()}"
    return UnpackedCore(target, name, compression, output.size, problem)


class _Stream:
    """The unpacked bytes in pieces, over all streams that follow each other in the file."""

    def __init__(
        self, source: BinaryIO, compression: str, decompressor: Callable[[], _Decompressor]
    ) -> None:
        self._source = source
        self._compression = compression
        self._decompressor = decompressor
        self.consumed = 0
        self.problem: str | None = None

    def __iter__(self) -> _Stream:
        self._current = self._decompressor()
        return self

    def __next__(self) -> bytes:
        while True:
            data = b""
            if self._current.eof:
                data = (self._current.unused_data or b"").lstrip(b"\0") or self._read()
                data = data.lstrip(b"\0")  # Padding, as tapes and xz have it.
                if not data:
                    raise StopIteration
                if _compression(data.ljust(8, b"\0")) != self._compression:
                    self.problem = f"what follows its end is not {self._compression} data"
                    raise StopIteration
                self._current = self._decompressor()
            elif self._current.needs_input:
                data = self._read()
                if not data:
                    self.problem = f"the {self._compression} data is cut off"
                    raise StopIteration
            try:
                unpacked = self._current.decompress(data, _OUTPUT_BYTES)
            except Exception as error:  # Each library has its own class, lz4 a bare RuntimeError.
                self.problem = f"the {self._compression} data is damaged ({error})"
                raise StopIteration from None
            if unpacked:
                return unpacked

    def _read(self) -> bytes:
        data = self._source.read(_INPUT_BYTES)
        self.consumed += len(data)
        return data


class _SparseWriter:
    """Writes a file from its beginning to its end, leaving holes for blocks of zeros."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self._unchecked = 0
        self.size = 0
        self.head = b""

    def write(self, data: bytes) -> None:
        if len(self.head) < len(_ELF_MAGIC):
            self.head += data[: len(_ELF_MAGIC)]
        begin = 0
        while begin < len(data):
            # Blocks are aligned in the file, however the pieces come.
            end = min(begin + _BLOCK_BYTES - self.size % _BLOCK_BYTES, len(data))
            block = data[begin:end]
            if block != _ZEROS[: len(block)]:
                self._write_at(self.size, block)
            self.size += len(block)
            begin = end

    def _write_at(self, offset: int, block: bytes) -> None:
        if self._unchecked >= _CHECK_EVERY_BYTES:
            _check_space(self._file, _CHECK_EVERY_BYTES, self._path)
            self._unchecked = 0
        self._unchecked += len(block)
        view = memoryview(block)
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view = view[written:]
            offset += written

    def finish(self) -> None:
        os.ftruncate(self._file.fileno(), self.size)


def _compression(head: bytes) -> str | None:
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)


def _decompressor_class(compression: str) -> Callable[[], _Decompressor]:
    if compression == "gzip":
        return _GzipDecompressor
    # The names of modules and classes, first choice first; `backports.zstd` is Python 3.14's own.
    choices = {
        "xz": (("lzma", "LZMADecompressor"),),
        "lz4": (("lz4.frame", "LZ4FrameDecompressor"),),
        "zstd": (
            ("compression.zstd", "ZstdDecompressor"),
            ("backports.zstd", "ZstdDecompressor"),
        ),
    }[compression]
    for module_name, class_name in choices:
        try:
            found: Callable[..., _Decompressor] = getattr(import_module(module_name), class_name)
        except ImportError:
            continue
        if compression == "xz":
            return lambda: found(memlimit=_XZ_MEMORY_BYTES)
        return found
    package = {"lz4": "Install lz4", "zstd": "Install backports.zstd"}.get(compression)
    raise PystackError(
        f"the core is compressed with {compression}, and this Python cannot unpack that",
        hint=f"{package or 'Use another Python'}, or unpack it with the {compression} command.",
    )


def _promised_size(source: BinaryIO, compression: str) -> int | None:
    """The unpacked size where the first frame's header has it (RFC 8878 3.1.1, lz4 frame format).

    gzip's trailer has it too, but only the lowest 32 bits, and noise when the file is cut off.
    """
    head = source.read(32)
    source.seek(0)
    if compression == "lz4" and len(head) >= 14 and head[4] & 0x08:
        return int.from_bytes(head[6:14], "little")
    if compression != "zstd" or len(head) < 5:
        return None
    descriptor = head[4]
    single_segment = bool(descriptor & 0x20)
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    begin = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3]
    if size_bytes == 0 or len(head) < begin + size_bytes:
        return None
    size = int.from_bytes(head[begin : begin + size_bytes], "little")
    return size + 256 if size_bytes == 2 else size


def _check_space(file: BinaryIO, wanted: int, path: str) -> None:
    status = os.fstatvfs(file.fileno())
    free = status.f_bavail * status.f_frsize
    if free < wanted + _RESERVE_BYTES:
        raise SystemFailure(
            f"not enough disk space to unpack {path}:"
            f" {wanted >> 20} MiB more are needed and {free >> 20} MiB are free",
            errno=errno.ENOSPC,
            hint="Set TMPDIR to a folder on a bigger disk.",
        )


def _default_folder() -> str:
    # /var/tmp before tempfile's /tmp: /tmp is memory on many systems, and a core is big.
    for folder in (os.environ.get("TMPDIR"), "/var/tmp"):
        if folder and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return tempfile.gettempdir()


def _private_file(folder: str) -> BinaryIO:
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL, 0o600)
    except OSError as error:
        # Some file systems (NFS, older overlays) have no files without a name.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        descriptor, name = tempfile.mkstemp(prefix="pystack-", dir=folder)
        Path(name).unlink()
    return open(descriptor, "r+b", buffering=0)


def _system_failure(error: OSError) -> SystemFailure:
    place = f" {error.filename}" if error.filename else ""
    return SystemFailure(f"{error.strerror or error}{place}", errno=error.errno)
