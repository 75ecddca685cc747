"""Which native frames are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystack._core import RawNative
    from pystack.debuginfod import Debuginfod


class Native(NamedTuple):
    """Native frames of the threads that Python knows, with the Python frames in their places."""

    #: Those of other threads, too, such as the workers of a library.
    all_threads: bool = False
    #: Only the frames that the innermost Python frame called.
    last_only: bool = False
    #: Servers that have debug files; None: nothing is got from the network. Recordings ask them
    #: before they begin, for every file that is mapped then.
    debuginfod: Debuginfod | None = None
    #: Of each thread's stack, how many bytes are copied for a sample of a recording. Dumps have all.
    sampled_stack_bytes: int = 1 << 20

    def to_raw(self) -> RawNative:
        """For the C++ core."""
        return {
            "all_threads": self.all_threads,
            "last_only": self.last_only,
            "sampled_stack_bytes": self.sampled_stack_bytes,
            "fetch": None if self.debuginfod is None else self.debuginfod.fetch,
        }
