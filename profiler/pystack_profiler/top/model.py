"""What `pystack top` shows at one moment: plain data. All texts of the target are escaped.

Shares are of the time of one thread (or one CPU): 1.0 is one thread, or one CPU, all the time. They come from sums
in which the past counts less and less (`decay`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..grouping import LabelKind
from ..view import Mode
from .selection import ThreadKey

#: What the last sample of a thread found. "idle": it waits for work in a pool or an event loop; "unseen": it has
#: no recent sample.
State = Literal["running", "waiting", "idle", "gil", "gc", "unknown", "unseen"]


@dataclass(frozen=True, slots=True)
class ThreadRow:
    key: ThreadKey
    tid: int
    name: str  # "": it has none
    is_python: bool
    state: State
    unseen_s: float  # since the last sample
    cpu: float | None  # share of the time on a CPU; None if it was not measured
    holds_gil: bool  # in the last sample
    gil: float | None
    gil_wait: float | None
    doing: str  # what it waits for, else the innermost function


@dataclass(frozen=True, slots=True)
class ProcessRow:
    pid: int
    title: str
    python_version: str
    cpu: float | None  # of its Python threads
    ended: str | None  # how, if sampling it has ended
    threads: tuple[ThreadRow, ...]
    more_threads: int = 0


@dataclass(frozen=True, slots=True)
class Gil:
    """The GIL of one process. Not known in builds without one."""

    pid: int
    holders: tuple[str, ...]  # at the last tick, by name
    waiters: tuple[str, ...]
    held: float
    waited: float  # the sum of all threads


@dataclass(frozen=True, slots=True)
class FunctionRow:
    key: int
    name: str
    place: str  # file and line
    kind: LabelKind
    own: float
    total: float


@dataclass(frozen=True, slots=True)
class StackFrame:
    name: str
    place: str
    source: str  # "": it is not known
    kind: LabelKind


@dataclass(frozen=True, slots=True)
class Stack:
    title: str
    frames: tuple[StackFrame, ...]  # the innermost first
    more_frames: int  # outer ones that are left out
    notes: tuple[str, ...] = ()  # about the source lines


@dataclass(frozen=True, slots=True)
class Quality:
    """How much is known, and what it cost."""

    rate_hz: float
    asked_hz: float
    coverage: float | None  # share of the planned samples that were taken; None: none were planned
    losses: str  # since the begin
    not_sampled: float  # share of the time
    tool_cpu: float | None  # share of a CPU
    sampling_cpu: float  # the part of it of the samplers


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything on the screen."""

    title: str
    elapsed_s: float
    mode: Mode
    mode_is_known: bool
    idle: bool  # idle time is part of the times of functions
    of_thread: str | None  # the functions are of this thread alone
    native: Literal["shown", "hidden", "not recorded"]
    gil: Gil | None
    runnable: float  # threads that were ready to run but had no CPU, of the time of one thread
    gc: float
    native_cpu: float | None  # share of the CPU time; None: not recorded, or nothing ran
    quality: Quality
    processes: tuple[ProcessRow, ...]
    functions: tuple[FunctionRow, ...]
    more_functions: int
    stack: Stack | None
    notes: tuple[str, ...] = field(default=())  # what is missing, and how it ended
