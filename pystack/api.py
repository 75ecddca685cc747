"""The functions a program calls. They import the C++ core when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack import errors
from pystack.model import Snapshot

if TYPE_CHECKING:
    from pystack._core import Sampler as Sampler

_MAX_PID = 2**31 - 1  # pid_t


def dump(pid: int, *, block: bool = True, exhaustive: bool = False) -> Snapshot:
    """Reads where every Python thread of a running process is.

    Args:
        pid: The process, as this process sees it.
        block: Stop the target for the reading, well under a millisecond as a rule. Without it the
            target runs on; a stack that could not be proved consistent says so in `stack_end`.
        exhaustive: Also search memory that no file backs for the interpreter: slower, and needed
            only where the plain search finds none.

    Raises:
        NoSuchProcess: There is no such process.
        TargetExited: It went away before anything was read.
        PermissionDenied: The kernel refuses; `cause` and `hint` say why and what to do.
        NotPython: There is no interpreter in it.
        UnsupportedTarget: A zombie, a kernel thread, a 32-bit process.
        LayoutError: Its Python is one we do not know.
        MemoryFault: Its interpreter's memory makes no sense.
        InvalidArgument: `pid` is not a positive number.

    All are `PystackError`s; the tree is drawn in `pystack.errors`.
    """
    _check_pid(pid)
    from pystack import _core

    try:
        raw = _core.dump_live(pid, stop=block, exhaustive=exhaustive)
    except errors.TargetError as error:
        raise _explained(error, pid, stop=block) from None
    return Snapshot.from_raw(raw)


def open_sampler(
    pid: int, *, rate_hz: float, stop: bool = False, exhaustive: bool = False
) -> Sampler:
    """Finds the interpreter of a running process and prepares to sample it.

    Nothing is read before `Sampler.start()`. With `stop`, the target is stopped for each sample.
    Raises what `dump` raises.
    """
    _check_pid(pid)
    if not rate_hz > 0:
        raise errors.InvalidArgument(f"a rate is a positive number, not {rate_hz}", pid=pid)
    from pystack import _core

    try:
        return _core.Sampler(pid, rate_hz=rate_hz, stop=stop, exhaustive=exhaustive)
    except errors.TargetError as error:
        raise _explained(error, pid, stop=stop) from None


def __getattr__(name: str) -> object:
    if name == "Sampler":
        from pystack import _core

        return _core.Sampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _check_pid(pid: int) -> None:
    if pid <= 0:
        raise errors.InvalidArgument(f"a pid is a positive number, not {pid}", pid=pid)
    if pid > _MAX_PID:
        raise errors.NoSuchProcess(f"there is no process {pid}", pid=pid)


def _explained(error: errors.TargetError, pid: int, *, stop: bool) -> errors.TargetError:
    """The same failure with what can be found out about this very case."""
    from pystack import diagnosis

    return diagnosis.explain(error, pid, stop=stop)
