"""The idle time of threads: they wait for work in a pool or an event loop (`pystack.idle`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pystack.idle import Place, is_idle
from pystack.sampling import WAIT_KINDS, FrameKind, SampleState

from .profile import Profile
from .track import EMPTY_STACK, Run

if TYPE_CHECKING:
    from pystack.waits import WaitKind

_AT_WORK = SampleState.ON_CPU | SampleState.HOLDS_GIL | SampleState.WAITS_FOR_GIL | SampleState.GC


class IdleStacks:
    """Says of the runs of one process whether the thread was idle. Each stack is looked at once."""

    def __init__(self, profile: Profile) -> None:
        self._tables = profile.tables
        self._known: dict[tuple[int, int], bool] = {}

    def is_idle(self, run: Run) -> bool:
        """False if it is not known whether the thread ran."""
        if not run.samples or run.stack == EMPTY_STACK:
            return False
        if run.state & (_AT_WORK | SampleState.CPU_KNOWN) != SampleState.CPU_KNOWN:
            return False
        key = run.stack, self._tables.wait_kind[run.wait] if run.wait else -1
        if key not in self._known:
            kind = cast("WaitKind", WAIT_KINDS[key[1]]) if run.wait else None
            self._known[key] = is_idle(self._places(run.stack), kind)
        return self._known[key]

    def _places(self, stack: int) -> list[Place]:
        """The Python frames, the innermost first."""
        tables, places = self._tables, []
        while stack != EMPTY_STACK:
            frame = tables.stack_frame[stack]
            if tables.frame_kind[frame] == FrameKind.PYTHON:
                function = tables.strings[tables.frame_function[frame]]
                places.append(Place(function, tables.strings[tables.frame_file[frame]]))
            stack = tables.stack_parent[stack]
        return places
