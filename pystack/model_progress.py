"""What several dumps say about progress. Part of `pystack.model`, which has all public names."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from pystack.named_tuple import NamedTuple


class Watched(NamedTuple):
    """The dumps that a snapshot was compared with."""

    #: With the snapshot itself.
    dumps: int
    #: From the first of them to the last.
    span_ns: int


class Unmoved(NamedTuple):
    """Since when a thread or a task was found at the same place, with the same wait."""

    #: At least 2.
    dumps: int
    #: From the first of them to the last.
    span_ns: int
    #: How long the thread ran between them, by the kernel's count. None if unknown, and of tasks.
    cpu_ns: int | None
