"""The part of a recording that is shown. A recording contains the data for all views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pystack.sampling import SampleState

#: wall: all time; cpu: time on a CPU; gil: time with the GIL.
Mode = Literal["wall", "cpu", "gil"]
MODES: tuple[Mode, ...] = get_args(Mode)

Granularity = Literal["function", "line"]

_BIT: dict[Mode, int] = {"wall": 0, "cpu": SampleState.ON_CPU, "gil": SampleState.HOLDS_GIL}
_KNOWN: dict[Mode, int] = {"wall": 0, "cpu": SampleState.CPU_KNOWN, "gil": SampleState.GIL_KNOWN}


@dataclass(frozen=True, slots=True)
class View:
    """The part of a recording that exporters write."""

    mode: Mode = "wall"
    granularity: Granularity = "function"
    threads: bool = False  # threads, and processes if there are several, as root frames


DEFAULT_VIEW = View()


def mode_bit(mode: Mode) -> int:
    """The bits of the states that belong to the mode: all of them must be set."""
    return _BIT[mode]


def was_measured(mode: Mode, states: int) -> bool:
    """Whether the mode was measured, by the union of the state bits of all samples."""
    return states & _KNOWN[mode] == _KNOWN[mode]
