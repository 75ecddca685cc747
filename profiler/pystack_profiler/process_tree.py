"""Finds a process and its descendants soon after they start.

The tree is polled; `fork_events` says where a look is worth while. That is cheap: the kernel publishes
the pid that it assigned last. While it does not change, there are no new processes; if it changes,
only the pids in between are new.

A process is found by its parent. It is missed if its parent ended before the next scan, as with daemons
that fork twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

#: If more processes and threads than this are new, all processes are listed.
_FEW = 256

#: The kernel assigns a pid shortly before the process becomes visible, so each new pid gets this
#: many looks.
_LOOKS = 3

_PROC = Path("/proc")
_LOADAVG = _PROC / "loadavg"
_HEAD = 12  # the first lines of a status file, which contain the pids


class ProcessTree:
    """`members` are the processes of the tree at the last look, including the root."""

    def __init__(self, root: int) -> None:
        self.members = {root}
        self._last: int | None = None  # at the last look; None: before the first look
        self._pending: dict[int, int] = {}  # pid that is not visible yet -> looks left
        self._listed: set[int] = (
            set()
        )  # all processes at the last look, if they are listed each time
        self._is_reported = _reports_last_pid()

    def look(self) -> list[int]:
        """The members that are new since the last call, parents first. The first call: all but the root."""
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
        """Removes a process that has ended."""
        self.members.discard(pid)

    def _join(self, parents: dict[int, int]) -> list[int]:
        """Adds the processes that descend from members."""
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
        if not self._is_reported:
            listed = set(_all_processes())
            new = listed - self._listed
            self._listed = listed
            return new
        before, self._last = self._last, _last_started()
        if before is None or not 0 <= self._last - before <= _FEW:
            return _all_processes()
        return [*self._pending, *range(before + 1, self._last + 1)]


def _reports_last_pid() -> bool:
    """Whether the kernel's last pid is usable: some containers replace /proc/loadavg."""
    before = _last_started()
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    return _last_started() != before


def _last_started() -> int:
    """The ID of the youngest process or thread; 0 if it is unknown."""
    with suppress(OSError, ValueError, IndexError):
        return int(_LOADAVG.read_bytes().split()[4])
    return 0


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdecimal()]  # noqa: PTH208


def _parent_of_process(pid: int) -> int | None:
    """Returns 0 for the ID of a thread, and None if the process does not exist (yet)."""
    try:
        lines = (_PROC / str(pid) / "status").read_bytes().splitlines()
    except OSError:
        return None
    facts = dict(line.split(b":", 1) for line in lines[:_HEAD] if b":" in line)
    is_process = int(facts.get(b"Tgid", b"0")) == pid
    return int(facts.get(b"PPid", b"0")) if is_process else 0
