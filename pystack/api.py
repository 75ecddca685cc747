"""The public functions. They import the C++ core at first use."""

from __future__ import annotations

import os
import stat

from pystack import errors, path_arguments
from pystack.model import CoreDetails, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from pystack._core import RawLocals, RawNative, RawSnapshot
    from pystack._core import Sampler as Sampler
    from pystack.core_unpack import Progress, UnpackedCore
    from pystack.locals_options import Locals
    from pystack.native_options import Native

    StrPath = str | os.PathLike[str]
    AnyError = TypeVar("AnyError", bound=errors.PystackError)
    Options = TypeVar("Options", Locals, Native)

_MAX_PID = 2**31 - 1  # pid_t


def dump(
    pid: int,
    *,
    block: bool = True,
    exhaustive: bool = False,
    tasks: bool = True,
    locals: Locals | bool | None = None,
    native: Native | bool | None = None,
    raise_priority: bool = True,
    require_python: bool = True,
    max_memory: int | None = None,
) -> Snapshot:
    """Reads where every Python thread of a running process is.

    Args:
        pid: The process ID, as seen by the calling process.
        block: Pause the target while it is read, usually for less than a millisecond. Otherwise
            the target keeps running, and `stack_end` marks each stack that could not be proved
            consistent.
        exhaustive: Also search anonymous memory for the interpreter. Slower, and needed only if
            the normal search finds none.
        tasks: Also read the tasks of asyncio (Python 3.7 and later) and trio, and greenlets. Without `block` they
            are read only if no thread runs meanwhile; otherwise `problems` says that they are
            missing.
        locals: Also read arguments and local variables, within these limits. True means
            `Locals()`. Without `block` they are read only if no thread runs meanwhile; otherwise
            `problems` says that they are missing.
        native: Also read native frames and merge them with the Python frames. True means
            `Native()`. Needs `block`.
        raise_priority: Raise the priority of the reading thread to niceness -20 and, while the
            target is stopped, to real-time priority for up to a millisecond at a time. This is
            done only if the kernel allows it and the calling thread has normal priority.
        require_python: Raise `NotPython` if the process has no interpreter. Otherwise the snapshot
            then contains the native stacks of all threads, no interpreters and an empty `version`.
            Needs `block`.
        max_memory: The number of bytes to keep of data whose size the target chooses: names,
            tables, frames, values. Beyond this limit, data is left out and `problems` says so.
            None means 256 MiB, which real programs do not reach.

    Raises:
        NoSuchProcess: No process has this ID.
        TargetExited: The process exited before anything was read.
        PermissionDenied: The kernel denied access; `cause` and `hint` say why and what to do.
        NotPython: The process contains no interpreter, or is a kernel thread.
        UnsupportedTarget: The process is a zombie or a 32-bit process.
        LayoutError: The Python version or build is not supported.
        MemoryFault: The interpreter's memory is corrupt or cannot be read.
        InvalidArgument: `pid` is not positive or is that of the calling process, which cannot pause
            itself (use `block=False`), or `native` was given without `block`.
        OutOfMemory: The system denied memory to the calling process.

    All of these are `PystackError`s; see `pystack.errors`.
    """
    _check_pid(pid)
    _check_stop(pid, stop=block, other="block=False")
    from pystack import _core

    try:
        raw = _core.dump_live(
            pid,
            stop=block,
            exhaustive=exhaustive,
            tasks=tasks,
            locals=_raw_locals(locals),
            native=_raw_native(native),
            native_without_python=None if require_python else _raw_native(native or True),
            raise_priority=raise_priority,
            max_memory=_checked_memory(max_memory),
        )
        return Snapshot.from_raw(raw)
    except errors.TargetError as error:
        raise _explained(_with_hint(error, exhaustive), pid, stop=block) from None
    except MemoryError:
        raise errors.OutOfMemory("out of memory", pid=pid) from None


def dump_core(
    path: StrPath,
    *,
    executable: StrPath | None = None,
    library_folders: Iterable[StrPath] = (),
    library_root: StrPath | None = None,
    exhaustive: bool = False,
    tasks: bool = True,
    locals: Locals | bool | None = None,
    native: Native | bool | None = None,
    require_python: bool = True,
    max_unpacked: int | None = None,
    progress: Progress | None = None,
    max_memory: int | None = None,
) -> Snapshot:
    """Reads where every Python thread was when a core file was written.

    The files that the process had mapped are searched at their own paths, then in
    `library_folders`, then below `library_root`. Files with another build ID are never used;
    `Snapshot.core.modules` lists the result for each file. A file at its own path that the author
    of the core may not be able to read is used only if the core contains its build ID.

    Args:
        path: The core, plain or compressed with gzip, zstd, lz4 or xz. A compressed core is
            unpacked to an unnamed temporary file, which is removed afterwards.
        executable: The program that ran, if it is not the file that the core names.
        library_folders: Folders to search by file name, in this order, not recursively.
        library_root: A copy of the root folder of the machine or container where the core was
            written, or any other folder, which is searched recursively.
        exhaustive: As for `dump`.
        tasks: As for `dump`.
        locals: As for `dump`.
        native: As for `dump`.
        require_python: As for `dump`.
        max_unpacked: The maximum size in bytes of an unpacked core. None means 200 times the
            compressed size or 2 GiB, whichever is larger.
        progress: Called while a compressed core is unpacked, with the compressed bytes read, their
            total, and the unpacked bytes.
        max_memory: As for `dump`.

    Raises:
        NotACore: The file is not an ELF core.
        CoreError: The unpacked core exceeds `max_unpacked`.
        CoreTruncated: Too much of the core is missing to read anything.
        MissingBinary: A file that the core names is needed and was not found.
        NotPython: The core is not from a Python process.
        UnsupportedTarget: The core is from a 32-bit process or another architecture.
        LayoutError: The Python version or build is not supported.
        MemoryFault: The interpreter's memory is corrupt or missing.
        InvalidArgument: `executable` is not an ELF file, or a folder does not exist.
        SystemFailure: The file cannot be opened, or there is not enough disk space to unpack it.
    """
    name = os.fsdecode(path)
    if isinstance(library_folders, str | bytes):
        raise errors.InvalidArgument(f"library_folders must be a list, not {library_folders!r}")
    folders = [path_arguments.folder(folder) for folder in library_folders]
    root = None if library_root is None else path_arguments.folder(library_root)
    program = None if executable is None else path_arguments.program(executable)

    def read(file: str, original: str | None = None) -> RawSnapshot:
        from pystack import _core

        return _core.dump_core(
            file,
            executable=program,
            library_folders=folders,
            library_root=root,
            original=original,
            exhaustive=exhaustive,
            tasks=tasks,
            locals=_raw_locals(locals),
            native=_raw_native(native),
            native_without_python=None if require_python else _raw_native(native or True),
            max_memory=_checked_memory(max_memory),
        )

    try:
        if not _may_be_compressed(name):
            return _core_snapshot(read(path_arguments.encodable(name)), name, None)
        from pystack import core_unpack

        if core_unpack.compression_of(name) is None:
            return _core_snapshot(read(path_arguments.encodable(name)), name, None)
        with core_unpack.unpack(name, max_bytes=max_unpacked, progress=progress) as unpacked:
            try:
                raw = read(unpacked.path, unpacked.original)
            except errors.PystackError as error:
                # The C++ core knows only the temporary file.
                error.args = (str(error).replace(unpacked.path, name),)
                raise
            return _core_snapshot(raw, name, unpacked)
    except errors.NotPython as error:
        raise _with_hint(error, exhaustive) from None
    except MemoryError:
        raise errors.OutOfMemory("out of memory") from None


def open_sampler(
    pid: int,
    *,
    rate_hz: float,
    stop: bool | None = False,
    exhaustive: bool = False,
    native: Native | bool | None = None,
    tasks: bool = False,
    raise_priority: bool = True,
    max_cpu_share: float = 1.0,
    max_pause_share: float = 1.0,
    max_memory: int | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Sampler:
    """Finds the interpreter of a running process and prepares to sample it.

    Sampling begins with `Sampler.start()`.

    Args:
        pid: The process ID, as seen by the calling process.
        rate_hz: Samples per second.
        stop: Stop each thread that is running while it is sampled. None: only threads whose stacks
            change too fast to be read otherwise, and only if the system allows it.
        exhaustive: As for `dump`.
        native: Sample native frames as well, without the interpreter's internals. Implies `stop`.
            With `Native.all_threads`, threads that never ran Python code are sampled, too; their
            interpreter ID is -1.
        tasks: Sample the tasks of asyncio and trio as well: where each one awaits, and what. They are in
            rows of the batches' `threads` that say so.
        raise_priority: As for `dump`.
        max_cpu_share: The share of one CPU that the sampling thread may use on average. Ticks above
            it are skipped and counted in `throttled`.
        max_pause_share: The share of the time in which threads may stand still for samples. Ticks above
            it are skipped and counted in `pause_limited`.
        max_memory: As for `dump`. Functions, stacks and threads beyond the limit are recorded as
            "<left out: memory limit>".
        cancelled: Called many times per second while the interpreter is searched. If it returns
            True, `Cancelled` is raised.

    Raises the same exceptions as `dump`.
    """
    _check_pid(pid)
    _check_stop(
        pid,
        stop=bool(stop) or native not in (None, False),
        other="stop=False and no native frames",
    )
    if not rate_hz > 0:
        raise errors.InvalidArgument(f"rate_hz must be positive, not {rate_hz}", pid=pid)
    for name, share in (("max_cpu_share", max_cpu_share), ("max_pause_share", max_pause_share)):
        if not 0 < share <= 1:
            raise errors.InvalidArgument(f"{name} must be above 0 and at most 1, not {share}")
    from pystack import _core

    try:
        return _core.Sampler(
            pid,
            rate_hz=rate_hz,
            stop=stop,
            exhaustive=exhaustive,
            native=_raw_native(native),
            tasks=tasks,
            raise_priority=raise_priority,
            max_cpu_share=max_cpu_share,
            max_pause_share=max_pause_share,
            max_memory=_checked_memory(max_memory),
            cancelled=cancelled,
        )
    except errors.TargetError as error:
        stops = bool(stop) or native not in (None, False)
        raise _explained(_with_hint(error, exhaustive), pid, stop=stops) from None


def __getattr__(name: str) -> object:
    if name == "Sampler":
        from pystack import _core

        return _core.Sampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _checked_memory(size: int | None) -> int | None:
    if size is not None and not 0 < size < 2**63:
        raise errors.InvalidArgument(f"max_memory must be a positive number of bytes, not {size}")
    return size


def _with_hint(error: AnyError, exhaustive: bool) -> AnyError:
    """Drops the hint that asks for what was done already."""
    if exhaustive and isinstance(error, errors.NotPython):
        error.hint = None
    return error


def _core_snapshot(raw: RawSnapshot, name: str, unpacked: UnpackedCore | None) -> Snapshot:
    details = raw["core"]
    assert details is not None, "what was read is a core"
    if unpacked is not None and unpacked.problem is not None:
        raw["problems"].insert(
            0, f"only {unpacked.size} bytes of {name} could be unpacked: {unpacked.problem}"
        )
    compression = None if unpacked is None else unpacked.compression
    return Snapshot.from_raw(raw, CoreDetails.from_raw(details, name, compression))


def _may_be_compressed(path: str) -> bool:
    """Whether the file needs a closer look. The C++ core reports files that cannot be read."""
    try:
        # Opening must not wait for the writer of a pipe, or acquire a controlling terminal.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return (
            is_file
            and os.read(descriptor, len(path_arguments.ELF_MAGIC)) != path_arguments.ELF_MAGIC
        )
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _raw_locals(given: Locals | bool | None) -> RawLocals | None:
    if given is None or given is False:
        return None
    from pystack.locals_options import Locals

    return _options(given, Locals, "locals").to_raw()


def _raw_native(given: Native | bool | None) -> RawNative | None:
    if given is None or given is False:
        return None
    from pystack.native_options import Native

    return _options(given, Native, "native").to_raw()


def _options(given: Options | bool, kind: type[Options], name: str) -> Options:
    """The given options, or the default options for True."""
    if given is True:
        return kind()
    if not isinstance(given, kind):
        raise errors.InvalidArgument(
            f"{name} must be {kind.__name__}(...), a bool or None, not {given!r}"
        )
    return given


def _check_pid(pid: int) -> None:
    if not isinstance(pid, int) or isinstance(pid, bool):
        raise errors.InvalidArgument(f"pid must be an int, not {pid!r}")
    if pid <= 0:
        raise errors.InvalidArgument(f"pid must be positive, not {pid}", pid=pid)
    if pid > _MAX_PID:
        raise errors.NoSuchProcess(f"there is no process {pid}", pid=pid)


def _check_stop(pid: int, *, stop: bool, other: str) -> None:
    """`other`: the arguments with which nothing is stopped."""
    if stop and pid == os.getpid():
        raise errors.InvalidArgument(
            f"process {pid} is the calling process, which cannot stop itself",
            pid=pid,
            hint=f"Use {other}, or call pystack from another process.",
        )


def _explained(error: errors.TargetError, pid: int, *, stop: bool) -> errors.TargetError:
    """Adds what can be found out about the cause."""
    from pystack import diagnosis

    return diagnosis.explain(error, pid, stop=stop)
