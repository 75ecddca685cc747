"""What of the process is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..view import Mode

FunctionOrder = Literal["self", "total", "name"]
ThreadMeasure = Literal["cpu", "gil", "gil wait"]
ThreadOrder = Literal["process", "cpu", "gil", "gil wait", "name"]


class ThreadKey(NamedTuple):
    """A thread for as long as it is recorded."""

    pid: int
    number: int  # of the sampler


class Basis(NamedTuple):
    """What the times of functions depend on; see `Selection`."""

    mode: Mode = "wall"
    idle: bool = False
    native: bool = True
    of_thread: ThreadKey | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    mode: Mode = "wall"
    idle: bool = False  # count the time in which threads wait for work in a pool or an event loop
    native: bool = True  # show native frames, if they are recorded
    of_thread: ThreadKey | None = None  # functions of this thread alone
    filter: str = ""  # functions whose name or file contains this, whatever the case
    functions_by: FunctionOrder = "self"
    threads_by: ThreadOrder = "process"
    #: Whose stack is shown: that of a thread, or one with a function. None: the busiest thread's.
    stack_of: ThreadKey | int | None = None

    @property
    def basis(self) -> Basis:
        return Basis(self.mode, self.idle, self.native, self.of_thread)


@dataclass(frozen=True, slots=True)
class Look:
    """What the user wants to see."""

    selection: Selection
    every_s: float
    once: bool
    no_color: bool
