"""What can go wrong, and what the caller can do about it.

    PystackError
    ├── TargetError                the process as a whole
    │   ├── NoSuchProcess          there is no process with this pid
    │   ├── TargetExited           it went away before anything was read
    │   ├── PermissionDenied       the kernel does not let us read it; `cause` says why
    │   ├── NotPython              no CPython interpreter in it
    │   └── UnsupportedTarget      a zombie, a kernel thread, a 32-bit or foreign process
    ├── CoreError                  the core file
    │   ├── NotACore               not an ELF core
    │   ├── CoreTruncated          it ends before its own headers say
    │   └── MissingBinary          a file is needed that the core names and that is not here
    ├── LayoutError                the interpreter's memory layout
    │   ├── VersionUnsupported     older or newer than the versions we know
    │   └── OffsetsRejected        its own table of offsets cannot be true
    ├── MemoryFault                one place in the target's memory
    │   ├── ReadFault              `size` bytes at `address` cannot be read
    │   └── CorruptData            what is at `address` makes no sense
    ├── InvalidArgument            the caller's mistake (also a ValueError)
    └── SystemFailure              a system call of our own failed; `errno` says how

A stack that could not be read to its end is not an error: see `Thread.stack_end`.
"""

from __future__ import annotations


class PystackError(Exception):
    """The base of all failures.

    `str(error)` is one sentence without a full stop. `hint` is one that says what to do, or None.
    `pid`, `address` (in the target) and `size` (in bytes) are None where they do not apply.
    """

    #: Exit status of the `pystack` command.
    exit_code: int = 1
    #: The hint where the raiser gives none.
    default_hint: str | None = None

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        address: int | None = None,
        size: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.address = address
        self.size = size
        self.hint = hint if hint is not None else self.default_hint


class TargetError(PystackError):
    """The process as a whole cannot be read."""


class NoSuchProcess(TargetError):
    """There is no process with this pid."""

    exit_code = 5
    default_hint = (
        "Look it up with `ps -e`; a process in a container has another pid inside than outside."
    )


class TargetExited(TargetError):
    """The process went away before anything was read."""

    exit_code = 5
    default_hint = (
        "To see a short-lived program, start it under the tool:"
        " pystack record -o out.json -- COMMAND."
    )


class PermissionDenied(TargetError):
    """The kernel does not let this process read the target.

    `cause` is the reason found for this very case, one sentence; None where it was not looked for.
    """

    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        address: int | None = None,
        size: int | None = None,
        hint: str | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(message, pid=pid, address=address, size=size, hint=hint)
        self.cause = cause


class NotPython(TargetError):
    """No CPython interpreter was found in the process."""

    exit_code = 3
    default_hint = (
        "If it does run Python, try --exhaustive, which also searches the memory no file backs."
    )


class UnsupportedTarget(TargetError):
    """A zombie, a kernel thread, a 32-bit process, or one of a foreign architecture."""


class CoreError(PystackError):
    """The core file cannot be used."""


class NotACore(CoreError):
    """The file is not an ELF core."""

    default_hint = "The first file is the core; the executable, if any, comes second."


class CoreTruncated(CoreError):
    """The core ends before its own headers say."""

    default_hint = "Check the size limit (`ulimit -c`) and the space left where it was written."


class MissingBinary(CoreError):
    """A file that the core needs is not on this machine."""

    default_hint = "Name the executable as second argument, or give --lib-search-root."


class LayoutError(PystackError):
    """The interpreter is there, but the shape of its memory is not known."""


class VersionUnsupported(LayoutError):
    """The interpreter is older or newer than the versions we know."""

    default_hint = "CPython 3.6 to 3.15 can be read; look for a newer pystack."


class OffsetsRejected(LayoutError):
    """The interpreter's own table of offsets cannot be true."""

    default_hint = (
        "It may be patched, or a pre-release: report it with the output of `python -VV`,"
        " run with the target's python."
    )


class MemoryFault(PystackError):
    """One place in the target's memory could not be used."""

    default_hint = "The process may have changed while it was read: try again."


class ReadFault(MemoryFault):
    """`size` bytes at `address` of the target cannot be read."""


class CorruptData(MemoryFault):
    """What is at `address` of the target makes no sense."""


class InvalidArgument(PystackError, ValueError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class SystemFailure(PystackError):
    """A system call of our own failed. `errno` is its number, None where it is not known."""

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        address: int | None = None,
        size: int | None = None,
        hint: str | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message, pid=pid, address=address, size=size, hint=hint)
        self.errno = errno


_CLASS_OF_CODE: dict[str, type[PystackError]] = {
    "ReadFault": ReadFault,
    "CorruptData": CorruptData,
    "NoSuchProcess": NoSuchProcess,
    "TargetExited": TargetExited,
    "PermissionDenied": PermissionDenied,
    "NotPython": NotPython,
    "NotACore": NotACore,
    "CoreTruncated": CoreTruncated,
    "MissingBinary": MissingBinary,
    "UnsupportedTarget": UnsupportedTarget,
    "VersionUnsupported": VersionUnsupported,
    "OffsetsRejected": OffsetsRejected,
    "InvalidArgument": InvalidArgument,
}


def from_code(
    code: str,
    message: str,
    *,
    address: int | None = None,
    size: int | None = None,
    pid: int | None = None,
) -> PystackError:
    """The exception of one code of the C++ side (`error_code_name` in cpp/base/error.cpp).

    A `System` error carries errno where the others have a size.
    """
    if code == "System":
        return SystemFailure(message, pid=pid, errno=size)
    error_class = _CLASS_OF_CODE.get(code, PystackError)
    return error_class(message, address=address, size=size, pid=pid)
