"""The exceptions that pystack raises.

    PystackError
    ├── TargetError                the process as a whole cannot be read
    │   ├── NoSuchProcess          no process has this ID
    │   ├── TargetExited           the process exited before anything was read
    │   ├── PermissionDenied       the kernel denied access; `cause` says why
    │   ├── NotPython              the process contains no CPython interpreter
    │   └── UnsupportedTarget      a zombie, a 32-bit or foreign process
    ├── CoreError                  the core file cannot be used
    │   ├── NotACore               not an ELF core
    │   ├── CoreTruncated          the core is shorter than its headers say
    │   └── MissingBinary          a file that the core names is needed and was not found
    ├── LayoutError                the interpreter's memory layout is not known
    │   ├── VersionUnsupported     an older or newer version than the supported ones
    │   └── OffsetsRejected        the interpreter's own table of offsets is not valid
    ├── MemoryFault                one place in the target's memory cannot be used
    │   ├── ReadFault              `size` bytes at `address` cannot be read
    │   └── CorruptData            the data at `address` is not valid
    ├── InvalidArgument            the caller's mistake (also a ValueError)
    ├── OutOfMemory                the system denied memory to this process
    ├── Cancelled                  the caller cancelled the call
    └── SystemFailure              a system call failed; `errno` is its error number

A truncated stack is not an error: see `Thread.stack_end`.
"""

from __future__ import annotations


class PystackError(Exception):
    """The base class of all exceptions.

    `str(error)` is one sentence without a full stop. `hint` is a sentence that says what to do, or
    None; it names arguments of the API, which the command replaces by its options. `pid`, `address`
    (in the target) and `size` (in bytes) are None if they do not apply.
    """

    #: Exit status of the `pystack` command.
    exit_code: int = 1
    #: The hint, if the raiser gives none.
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
    """No process has this ID."""

    exit_code = 5
    default_hint = (
        "Look it up with `ps -e`. A process in a container has a different pid outside of it."
    )


class TargetExited(TargetError):
    """The process exited before anything was read."""

    exit_code = 5
    default_hint = (
        "To see a short-lived program, let pystack start it:"
        " `pystack record -o out.json -- COMMAND`."
    )


class PermissionDenied(TargetError):
    """The kernel does not allow this process to read the target.

    `cause` is the reason, one sentence; None if it was not diagnosed.
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
    """The process contains no CPython interpreter; kernel threads never do."""

    exit_code = 3
    default_hint = "If it is a Python process, also search anonymous memory: exhaustive=True."


class UnsupportedTarget(TargetError):
    """A zombie, a 32-bit process, or one of a foreign architecture."""


class CoreError(PystackError):
    """The core file cannot be used."""


class NotACore(CoreError):
    """The file is not an ELF core."""

    default_hint = "The first file is the core; the executable, if any, comes second."


class CoreTruncated(CoreError):
    """The core is shorter than its own headers say."""

    default_hint = (
        "Check the size limit (`ulimit -c`) and the free space where the core was written."
    )


class MissingBinary(CoreError):
    """A file that is needed to read the target was not found."""

    default_hint = "Give its location with executable=... or library_root=..."


class LayoutError(PystackError):
    """The memory layout of the interpreter is not known."""


class VersionUnsupported(LayoutError):
    """The interpreter is older or newer than the supported versions."""

    default_hint = "This pystack reads CPython 3.6 to 3.15; check for a newer release."


class OffsetsRejected(LayoutError):
    """The interpreter's own table of offsets is not valid."""

    default_hint = (
        "The interpreter may be patched or a pre-release. Report this with the output of"
        " `python -VV` of the target's python."
    )


class MemoryFault(PystackError):
    """One place in the target's memory cannot be used."""

    default_hint = "The process may have changed while it was read. Try again."


class ReadFault(MemoryFault):
    """`size` bytes at `address` of the target cannot be read."""


class CorruptData(MemoryFault):
    """The data at `address` of the target is not valid."""


class InvalidArgument(PystackError, ValueError):
    """An argument is not valid."""

    exit_code = 2


class OutOfMemory(PystackError):
    """The system denied memory to this process."""

    default_hint = "Raise the memory limit of this shell or container (`ulimit -v`), or read less."


class Cancelled(PystackError):
    """The caller cancelled the call."""


class SystemFailure(PystackError):
    """A system call failed. `errno` is its error number, or None if it is unknown."""

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
    "OutOfMemory": OutOfMemory,
    "Cancelled": Cancelled,
}


def from_code(
    code: str,
    message: str,
    *,
    address: int | None = None,
    size: int | None = None,
    errno: int | None = None,
    pid: int | None = None,
) -> PystackError:
    """Makes the exception for an error code of the C++ core (`error_code_name` in cpp/base/error.cpp)."""
    if code == "System":
        return SystemFailure(message, pid=pid, errno=errno)
    error_class = _CLASS_OF_CODE.get(code, PystackError)
    return error_class(message, address=address, size=size, pid=pid)
