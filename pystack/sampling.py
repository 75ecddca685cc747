"""The types of the C++ sampler: its batches, and the numbers in them. `pystack.open_sampler` makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack._core import (
    NO_INTERPRETER,
    STATS_MERGES,
    WAIT_KINDS,
    Batch,
    FrameKind,
    NameSource,
    Sampler,
    SampleState,
)

if TYPE_CHECKING:
    from pystack._core import SamplerStats as SamplerStats  # a TypedDict, for type checkers only

__all__ = [
    "NO_INTERPRETER",
    "STATS_MERGES",
    "WAIT_KINDS",
    "Batch",
    "FrameKind",
    "NameSource",
    "SampleState",
    "Sampler",
]
