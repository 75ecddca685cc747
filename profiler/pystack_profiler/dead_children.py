"""The CPU time of child processes that have ended: what no sample may have seen, the kernel still knows."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class DeadChildren:
    """Of one process: its children that it has waited for, and those that these had waited for."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/stat")
        self._before_ns = self._now_ns = self._read() or 0

    def look(self) -> None:
        """Call this from time to time: once the process has ended, nobody knows any more."""
        now_ns = self._read()
        if now_ns is not None:
            self._now_ns = now_ns

    @property
    def cpu_ns(self) -> int:
        """The CPU time of the children that ended between the construction and the last look."""
        return max(0, self._now_ns - self._before_ns)

    def _read(self) -> int | None:
        # proc(5): cutime (16) and cstime (17); the name (2) may contain anything.
        with suppress(OSError, IndexError, ValueError):
            fields = self._path.read_bytes().rpartition(b")")[2].split()
            return (int(fields[13]) + int(fields[14])) * _TICK_NS
        return None
