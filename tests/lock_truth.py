"""Compares the holders that a dump of programs/lock_traffic.py names with what it writes down."""

from __future__ import annotations

import json

import pystack


class LockTruth:
    """Counts the holders that were named, and keeps those that contradict the program."""

    def __init__(self, locks: list[int]) -> None:
        self._locks = locks
        self.named = 0
        self.wrong: list[str] = []

    def check(self, pid: int) -> None:
        """Takes a dump with a stop and one without."""
        self._check_holders(pystack.dump(pid, locals=pystack.Locals()))
        # What it reads of the program is not of one moment, so it shows nothing about holders.
        # Without its tasks: a dump waits a moment for the program to stand still, so that they can be read.
        self._check_circles(pystack.dump(pid, block=False, tasks=False))

    def _check_holders(self, snapshot: pystack.Snapshot) -> None:
        self._check_circles(snapshot)
        owners = _owners_in(snapshot)
        for thread in snapshot.threads:
            wait = thread.waits_for
            if wait is None or wait.kind != "lock" or wait.address not in self._locks:
                continue
            owner = owners[self._locks.index(wait.address)]
            self.named += len(wait.holders)
            self.wrong += [
                f"{one} instead of {owner}: {snapshot}"
                for one in wait.holders
                if owner not in (0, one.python_thread_id)
            ]

    def _check_circles(self, snapshot: pystack.Snapshot) -> None:
        if snapshot.deadlocks:
            self.wrong.append(f"a circle: {snapshot}")


def _owners_in(snapshot: pystack.Snapshot) -> list[int]:
    (main,) = [thread for thread in snapshot.threads if thread.is_main]
    (frame,) = [frame for frame in main.python_frames if frame.function == "main"]
    (owners,) = [one.value for one in frame.variables or () if one.name == "owners"]
    found: list[int] = json.loads(owners or "")
    return found
