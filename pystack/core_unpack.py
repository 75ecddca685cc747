"""Unpacks compressed core files: gzip, zstd, lz4 and xz.

The core is unpacked to an unnamed temporary file that no other user can read. The kernel removes it
when this process ends, for whatever reason:

    with unpack("core.python.zst") as core:
        open_core(core.path)

Blocks of zeros become holes, and data after the end of the core is not unpacked. Everything before it
must be: no format that tools write allows skipping. Truncated or damaged data is unpacked as far as
possible, and `problem` says why there is no more. A file that is not a core or becomes too large is an
error.
"""

from __future__ import annotations

import errno
import os
import tempfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from .core_extent import core_size
from .errors import CoreTruncated, NotACore, PystackError, SystemFailure
from .sparse_file import SparseFile

_ELF_MAGIC = b"\x7fELF"
_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
}

_INPUT_BYTES = 256 << 10
_OUTPUT_BYTES = 1 << 20
#: A core may grow by this ratio, or to the size below; real cores are compressed 20 to 100 times. More
#: is treated as a decompression bomb. Cores with much zeroed memory need a larger `max_bytes`.
_MAX_RATIO = 200
_LEAST_LIMIT_BYTES = 2 << 30
#: `xz -9` needs 65 MiB.
_XZ_MEMORY_BYTES = 256 << 20

#: Called with the compressed bytes read, their total, and the bytes unpacked.
Progress = Callable[[int, int, int], None]


class _Decompressor(Protocol):
    """One compressed stream, in the form that lzma, zstd and lz4 share."""

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
    """An unpacked core. Until it is closed, `path` opens the core and `original` the compressed file."""

    file: BinaryIO
    source: BinaryIO
    path: str
    compression: str
    size: int
    #: Why not all of the original could be unpacked; None if everything was.
    problem: str | None

    @property
    def original(self) -> str:
        return f"/proc/self/fd/{self.source.fileno()}"

    def close(self) -> None:
        self.file.close()
        self.source.close()

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
    """The name of the compression, by the file's first bytes; None for any other file."""
    try:
        with open(path, "rb") as file:
            return _compression(file.read(8))
    except OSError as error:
        raise _system_failure(error) from error


def unpack(
    path: str | os.PathLike[str],
    *,
    folder: str | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
) -> UnpackedCore:
    """Unpacks a compressed core into `folder`. Default: TMPDIR, /var/tmp or tempfile's choice.

    The unpacked core has at most `max_bytes`. Default: 200 times the compressed size or 2 GiB,
    whichever is larger.

    Raises NotACore if the file is not compressed or not a core, CoreTruncated if nothing could be
    unpacked, CoreError if the core becomes too large, SystemFailure if there is not enough disk space
    or a file operation fails.
    """
    place = folder or _default_folder()
    try:
        with ExitStack() as files:
            source = files.enter_context(open(path, "rb"))
            head = source.read(32)
            source.seek(0)
            compression = _compression(head)
            if compression is None:
                raise NotACore(f"{path} is not compressed in a known format")
            decompressor = _decompressor_class(compression)
            packed = os.fstat(source.fileno()).st_size
            limit = max_bytes or max(packed * _MAX_RATIO, _LEAST_LIMIT_BYTES)
            target = files.enter_context(_private_file(place))
            output = SparseFile(target, str(path), place, limit)
            stream = _Stream(source, compression, decompressor)
            unpacked = _unpack_to(stream, output, str(path), progress)
            files.pop_all()  # The caller owns them now.
            return unpacked
    except OSError as error:
        raise _system_failure(error) from error


def _unpack_to(
    stream: _Stream, output: SparseFile, path: str, progress: Progress | None
) -> UnpackedCore:
    source, target = stream.source, output.file
    status = os.fstat(source.fileno())
    promised = _promised_size(source, stream.compression)
    if promised is not None:
        output.check_space(promised)
    end = None
    for data in stream:
        if output.size < len(_ELF_MAGIC):
            head = (output.head + data)[: len(_ELF_MAGIC)]
            if not _ELF_MAGIC.startswith(head):
                raise NotACore(f"{path} is {stream.compression} data, but does not contain a core")
        output.write(data)
        if progress is not None:
            progress(stream.consumed, status.st_size, output.size)
        if end is None:
            end = core_size(output.read, output.size)
            output.check_limit(end or 0)
        if end is not None and output.size >= end:
            break
    if output.size == 0:
        raise CoreTruncated(f"{path} cannot be unpacked: {stream.problem or 'it is empty'}")
    if progress is not None:
        progress(status.st_size, status.st_size, output.size)
    output.finish()
    # The file's time is the time of the core.
    os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
    name = f"/proc/self/fd/{target.fileno()}"
    return UnpackedCore(target, source, name, stream.compression, output.size, stream.problem)


class _Stream:
    """The unpacked bytes in pieces, across all consecutive streams of the file."""

    def __init__(
        self, source: BinaryIO, compression: str, decompressor: Callable[[], _Decompressor]
    ) -> None:
        self.source = source
        self.compression = compression
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
                data = data.lstrip(b"\0")  # Padding, as on tapes and in xz files.
                if not data:
                    raise StopIteration
                if _compression(data.ljust(8, b"\0")) != self.compression:
                    self.problem = f"the data after the first stream is not {self.compression} data"
                    raise StopIteration
                self._current = self._decompressor()
            elif self._current.needs_input:
                data = self._read()
                if not data:
                    self.problem = f"the {self.compression} data is truncated"
                    raise StopIteration
            try:
                unpacked = self._current.decompress(data, _OUTPUT_BYTES)
            except Exception as error:  # Each library has its own class, lz4 a bare RuntimeError.
                self.problem = f"the {self.compression} data is damaged ({error})"
                raise StopIteration from None
            if unpacked:
                return unpacked

    def _read(self) -> bytes:
        data = self.source.read(_INPUT_BYTES)
        self.consumed += len(data)
        return data


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
        f"the core is compressed with {compression}, which this Python cannot unpack",
        hint=f"{package or 'Use another Python'}, or unpack it with the {compression} command.",
    )


def _promised_size(source: BinaryIO, compression: str) -> int | None:
    """The unpacked size, if the first frame's header has it (RFC 8878 3.1.1, lz4 frame format).

    gzip's trailer has only its lowest 32 bits, and garbage if the file is truncated.
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


def _default_folder() -> str:
    # /var/tmp before tempfile's /tmp: /tmp is in memory on many systems, and a core is large.
    for folder in (os.environ.get("TMPDIR"), "/var/tmp"):
        if folder and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return tempfile.gettempdir()


def _private_file(folder: str) -> BinaryIO:
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL, 0o600)
    except OSError as error:
        # Some file systems (NFS, older overlays) do not support unnamed files.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        descriptor, name = tempfile.mkstemp(prefix="pystack-", dir=folder)
        Path(name).unlink()
    return open(descriptor, "r+b", buffering=0)


def _system_failure(error: OSError) -> SystemFailure:
    place = f" {error.filename}" if error.filename else ""
    return SystemFailure(
        f"cannot read or write{place}: {error.strerror or error}", errno=error.errno
    )
