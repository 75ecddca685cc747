"""The functions a program calls. They import the C++ core when first used."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pystack import errors
from pystack.model import CoreDetails, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pystack._core import RawSnapshot
    from pystack._core import Sampler as Sampler
    from pystack.core_unpack import Progress, UnpackedCore
    from pystack.locals_options import Locals
    from pystack.native_options import Native

    StrPath = str | os.PathLike[str]

_MAX_PID = 2**31 - 1  # pid_t
_ELF_MAGIC = b"\x7fELF"


def dump(
    pid: int,
    *,
    block: bool = True,
    exhaustive: bool = False,
    locals: Locals | None = None,
    native: Native | None = None,
) -> Snapshot:
    """Reads where every Python thread of a running process is.

    Args:
        pid: The process, as this process sees it.
        block: Stop the target for the reading, well under a millisecond as a rule. Without it the
            target runs on; a stack that could not be proved consistent says so in `stack_end`.
        exhaustive: Also search memory that no file backs for the interpreter: slower, and needed
            only where the plain search finds none.
        locals: Read arguments and local variables, too, within these limits. Needs `block`.
        native: Read the frames of compiled code, too, and put the Python frames in their places
            among them. Needs `block`.

    Raises:
        NoSuchProcess: There is no such process.
        TargetExited: It went away before anything was read.
        PermissionDenied: The kernel refuses; `cause` and `hint` say why and what to do.
        NotPython: There is no interpreter in it.
        UnsupportedTarget: A zombie, a kernel thread, a 32-bit process.
        LayoutError: Its Python is one we do not know.
        MemoryFault: Its interpreter's memory makes no sense.
        InvalidArgument: `pid` is not a positive number, or `locals` or `native` without `block`.

    All are `PystackError`s; the tree is drawn in `pystack.errors`.
    """
    _check_pid(pid)
    from pystack import _core

    try:
        raw = _core.dump_live(
            pid,
            stop=block,
            exhaustive=exhaustive,
            locals=None if locals is None else locals.to_raw(),
            native=None if native is None else native.to_raw(),
        )
    except errors.TargetError as error:
        raise _explained(error, pid, stop=block) from None
    return Snapshot.from_raw(raw)


def dump_core(
    path: StrPath,
    *,
    executable: StrPath | None = None,
    library_folders: Iterable[StrPath] = (),
    library_root: StrPath | None = None,
    exhaustive: bool = False,
    locals: Locals | None = None,
    native: Native | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Reads where every Python thread was when a core file was written.

    The files that the process had mapped are looked for at their own paths, then in
    `library_folders`, then below `library_root`. One of another build than the core's is used for
    nothing; `Snapshot.core.modules` tells what became of each.

    Args:
        path: The core, plain or compressed with gzip, zstd, lz4 or xz. A compressed one is unpacked
            to a temporary file without a name, which is gone afterwards.
        executable: The program that ran, where the file that the core names is not the one.
        library_folders: Folders to look in by name, not recursively, in this order.
        library_root: A copy of the root folder of the machine or container where the core was
            written, or any folder to be searched recursively.
        exhaustive: As for `dump`.
        locals: As for `dump`.
        native: As for `dump`.
        progress: Called while a compressed core is unpacked, with the compressed bytes read, their
            total, and the bytes unpacked.

    Raises:
        NotACore: The file is not an ELF core.
        CoreTruncated: So much of it is missing that nothing can be read.
        MissingBinary: A file is needed that the core names and that is not here.
        NotPython: The core is not of a Python process.
        UnsupportedTarget: It is of a 32-bit process, or of another architecture.
        LayoutError: Its Python is one we do not know.
        MemoryFault: Its interpreter's memory makes no sense.
        InvalidArgument: `executable` is no ELF file, or a folder is none.
        SystemFailure: The file cannot be opened, or the disk is too small to unpack it.
    """
    name = os.fspath(path)
    folders = [_folder(folder) for folder in library_folders]
    root = None if library_root is None else _folder(library_root)
    program = None if executable is None else _program(executable)

    def read(file: str) -> RawSnapshot:
        from pystack import _core

        return _core.dump_core(
            file,
            executable=program,
            library_folders=folders,
            library_root=root,
            exhaustive=exhaustive,
            locals=None if locals is None else locals.to_raw(),
            native=None if native is None else native.to_raw(),
        )

    if not _may_be_compressed(name):
        return _core_snapshot(read(_encodable(name)), name, None)
    from pystack import core_unpack

    if core_unpack.compression_of(name) is None:
        return _core_snapshot(read(_encodable(name)), name, None)
    with core_unpack.unpack(name, progress=progress) as unpacked:
        try:
            raw = read(unpacked.path)
        except errors.PystackError as error:
            # The reader knows only the temporary file.
            error.args = (str(error).replace(unpacked.path, name),)
            raise
        return _core_snapshot(raw, name, unpacked)


def open_sampler(
    pid: int,
    *,
    rate_hz: float,
    stop: bool = False,
    exhaustive: bool = False,
    native: Native | None = None,
) -> Sampler:
    """Finds the interpreter of a running process and prepares to sample it.

    Nothing is read before `Sampler.start()`. With `stop`, the target is stopped for each sample;
    with `native`, too, and the stacks have native frames, those of the interpreter's machinery left
    out. Threads that Python does not know are sampled where `Native.all_threads` says so; their
    interpreter's id is -1.
    Raises what `dump` raises.
    """
    _check_pid(pid)
    if not rate_hz > 0:
        raise errors.InvalidArgument(f"a rate is a positive number, not {rate_hz}", pid=pid)
    from pystack import _core

    try:
        return _core.Sampler(
            pid,
            rate_hz=rate_hz,
            stop=stop,
            exhaustive=exhaustive,
            native=None if native is None else native.to_raw(),
        )
    except errors.TargetError as error:
        raise _explained(error, pid, stop=stop or native is not None) from None


def __getattr__(name: str) -> object:
    if name == "Sampler":
        from pystack import _core

        return _core.Sampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _core_snapshot(raw: RawSnapshot, name: str, unpacked: UnpackedCore | None) -> Snapshot:
    details = raw["core"]
    assert details is not None, "what was read is a core"
    if unpacked is not None and unpacked.problem is not None:
        raw["problems"].insert(
            0, f"{name} could be unpacked only in part, {unpacked.size} bytes: {unpacked.problem}"
        )
    compression = None if unpacked is None else unpacked.compression
    return Snapshot.from_raw(raw, CoreDetails.from_raw(details, name, compression))


def _may_be_compressed(path: str) -> bool:
    """Whether it is worth a closer look. Of what cannot be read the C++ core will tell."""
    try:
        # Opening must not wait for the writer of a pipe, nor make a terminal ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return is_file and os.read(descriptor, len(_ELF_MAGIC)) != _ELF_MAGIC
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _folder(path: StrPath) -> str:
    folder = _encodable(os.fspath(path))
    if not os.path.isdir(folder):  # noqa: PTH112 (start-up time)
        raise errors.InvalidArgument(f"{folder} is not a folder")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise errors.InvalidArgument(f"the folder {folder} cannot be read")
    return folder


def _program(path: StrPath) -> str:
    program = _encodable(os.fspath(path))
    try:
        with open(program, "rb") as file:
            head = file.read(len(_ELF_MAGIC))
    except OSError as error:
        raise errors.InvalidArgument(
            f"the executable {program} cannot be read: {error.strerror}"
        ) from None
    if head != _ELF_MAGIC:
        raise errors.InvalidArgument(
            f"{program} is not an ELF executable",
            hint="Name the python that ran, not the script; or leave it out: the core names it.",
        )
    return program


def _encodable(path: str) -> str:
    """The C++ core takes UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise errors.InvalidArgument(
            f"the name {path!a} is not UTF-8", hint="Make a link to it with another name."
        ) from None
    if "\0" in path:
        raise errors.InvalidArgument(f"the name {path!a} has a zero byte")
    return path


def _check_pid(pid: int) -> None:
    if pid <= 0:
        raise errors.InvalidArgument(f"a pid is a positive number, not {pid}", pid=pid)
    if pid > _MAX_PID:
        raise errors.NoSuchProcess(f"there is no process {pid}", pid=pid)


def _explained(error: errors.TargetError, pid: int, *, stop: bool) -> errors.TargetError:
    """The same failure with what can be found out about this very case."""
    from pystack import diagnosis

    return diagnosis.explain(error, pid, stop=stop)
