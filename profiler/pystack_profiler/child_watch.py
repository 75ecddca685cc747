"""Counts the Python processes that a recording without child processes leaves out."""

from __future__ import annotations

import os
import time

from pystack import process_facts

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_PAUSE_PER_LOOK = (
    50  # A look takes at most this part of the time, however many processes there are.
)


class ChildWatch:
    """Looks for them while the recording runs, because they may end with their parent."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._found: set[int] = set()
        self._pause_s = _FIRST_PAUSE_S
        self._look_at_s = time.monotonic() + _FIRST_PAUSE_S

    def update(self) -> None:
        """Looks less and less often."""
        begin_s = time.monotonic()
        if begin_s < self._look_at_s:
            return
        self._look()
        end_s = time.monotonic()
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._look_at_s = end_s + max(self._pause_s, _PAUSE_PER_LOOK * (end_s - begin_s))

    def count(self) -> int:
        """Looks once more. Returns how many there were."""
        self._look()
        return len(self._found)

    def _look(self) -> None:
        found = set(process_facts.python_descendants(self._pid))
        own = os.getpid()
        if own in found:  # The target has started this tool.
            found -= {own, *process_facts.descendants(own)}
        self._found |= found
