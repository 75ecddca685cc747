"""The options for native frames."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from pystack._core import RawNative
    from pystack.debuginfod import Debuginfod
else:
    from pystack.named_tuple import NamedTuple


class Native(NamedTuple):
    """Which native frames to read. They are merged with the Python frames."""

    #: Include threads that never ran Python code, such as the workers of a library.
    all_threads: bool = False
    #: Include only native frames below the innermost Python frame.
    last_only: bool = False
    #: Servers to download debug files from; None: no downloads. A recording downloads the files of
    #: all mapped modules before its first sample.
    debuginfod: Debuginfod | None = None
    #: The bytes to copy of each thread's stack per sample of a recording. A dump copies all of it.
    sampled_stack_bytes: int = 1 << 20

    def to_raw(self) -> RawNative:
        """Converts to the mapping of the C++ core."""
        return {
            "all_threads": self.all_threads,
            "last_only": self.last_only,
            "sampled_stack_bytes": self.sampled_stack_bytes,
            "fetch": None if self.debuginfod is None else self.debuginfod.fetch,
        }
