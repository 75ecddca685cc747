"""A process and all that descend from it, found soon after they start.

There is no event to wait for without being root, so this looks, and looks cheaply: the kernel tells
the number of the process that was started last, and while that stays the same nothing has to be
looked at. When it moves, only the processes with numbers in between are new.

A process is found by its parent. One whose parent ended before the next look belongs to nobody
that is known, and is missed: daemons that fork twice do that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

#: Where more processes and threads than that are new, all of them are listed.
_FEW = 256

#: A number is given out a little before its process can be seen.
_LOOKS = 3

_PROC = Path("/proc")
_LOADAVG = _PROC / "loadavg"
_HEAD = 12  # lines of a status file in which the numbers are


class ProcessTree:
    """`members` are the processes of the tree as of the last look, the root among them."""

    def __init__(self, root: int) -> None:
        self.members = {root}
        self._last: int | None = None  # as of the last look; None: there was none yet
        self._pending: dict[int, int] = {}  # not seen yet -> how often to look still
        self._listed: set[int] = set()  # at the last look, where all are listed each time
        self._is_told = _tells_last_started()

    def look(self) -> list[int]:
        """The members that are new since the last call, parents first. At first: all but the root."""
        parents: dict[int, int] = {}
        for pid in self._new_numbers():
            parent = _parent_of_process(pid)
            if parent is not None:
                parents[pid] = parent
                self._pending.pop(pid, None)
                continue
            looks = self._pending.pop(pid, _LOOKS) - 1
            if looks:
                self._pending[pid] = looks
        return self._join(parents)

    def forget(self, pid: int) -> None:
        """The process has ended."""
        self.members.discard(pid)

    def _join(self, parents: dict[int, int]) -> list[int]:
        """Takes those in that descend from members."""
        joined: list[int] = []
        while new := [
            pid
            for pid, parent in parents.items()
            if parent in self.members and pid not in self.members
        ]:
            self.members.update(new)
            joined += sorted(new)
        return joined

    def _new_numbers(self) -> Iterable[int]:
        if not self._is_told:
            listed = set(_all_processes())
            new = listed - self._listed
            self._listed = listed
            return new
        before, self._last = self._last, _last_started()
        if before is None or not 0 <= self._last - before <= _FEW:
            return _all_processes()
        return [*self._pending, *range(before + 1, self._last + 1)]


def _tells_last_started() -> bool:
    """Whether to trust the kernel's number: some containers put another file in its place."""
    before = _last_started()
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    return _last_started() != before


def _last_started() -> int:
    """The number of the youngest process or thread; 0 if that is not told."""
    with suppress(OSError, ValueError, IndexError):
        return int(_LOADAVG.read_bytes().split()[4])
    return 0


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdecimal()]  # noqa: PTH208


def _parent_of_process(pid: int) -> int | None:
    """0 if the number is a thread's. None: there is none of that number, or not yet."""
    try:
        lines = (_PROC / str(pid) / "status").read_bytes().splitlines()
    except OSError:
        return None
    facts = dict(line.split(b":", 1) for line in lines[:_HEAD] if b":" in line)
    is_process = int(facts.get(b"Tgid", b"0")) == pid
    return int(facts.get(b"PPid", b"0")) if is_process else 0
