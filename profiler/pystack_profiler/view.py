"""Which part of a recording is looked at. A recording holds all of them; a view needs no new run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .track import SampleState

#: wall: all time; cpu: time on a processor; gil: time with the GIL.
Mode = Literal["wall", "cpu", "gil"]
MODES: tuple[Mode, ...] = get_args(Mode)

Granularity = Literal["function", "line"]

_BIT: dict[Mode, int] = {"wall": 0, "cpu": SampleState.ON_CPU, "gil": SampleState.HOLDS_GIL}
_KNOWN: dict[Mode, int] = {"wall": 0, "cpu": SampleState.CPU_KNOWN, "gil": SampleState.GIL_KNOWN}


@dataclass(frozen=True, slots=True)
class View:
    """What exporters show of a recording."""

    mode: Mode = "wall"
    granularity: Granularity = "function"
    threads: bool = False  # threads, and processes if there are several, as root frames


DEFAULT_VIEW = View()


def mode_bit(mode: Mode) -> int:
    """A state belongs to the mode if it has all these bits."""
    return _BIT[mode]


def was_measured(mode: Mode, states: int) -> bool:
    """Whether samples with these bits, all together, ever said anything about the mode."""
    return states & _KNOWN[mode] == _KNOWN[mode]
