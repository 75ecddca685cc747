"""What a recording says that threads wait for, by the names of the threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import pystack
from pystack.sampling import WAIT_KINDS, Batch


class Reason(NamedTuple):
    kind: str
    type: str
    name: str
    holder: str  # the name of a thread; "": not known


class RecordedWaits:
    """Grows with each batch. Each thread has its last reason, and all that it had before."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self._strings: list[str] = []
        self._rows: list[tuple[int, int, int, int]] = []
        self._last: dict[int, int] = {}
        self._seen: dict[int, set[int]] = {}

    def add(self, batch: Batch) -> None:
        self._strings += batch.strings
        self._rows += zip(
            batch.wait_kind, batch.wait_type, batch.wait_name, batch.wait_holder, strict=True
        )
        self.names.update({number: name for number, _, _, _, name, _ in batch.threads})
        for thread, wait in zip(batch.thread, batch.wait, strict=True):
            self._last[thread] = wait
            self._seen.setdefault(thread, set()).add(wait)

    @property
    def last(self) -> dict[str, Reason]:
        """Of the threads whose last sample has one."""
        return {
            self.names[thread]: self._reason(wait) for thread, wait in self._last.items() if wait
        }

    def seen(self, name: str) -> set[Reason]:
        return {
            self._reason(wait)
            for thread, waits in self._seen.items()
            if self.names[thread] == name
            for wait in waits - {0}
        }

    def _reason(self, wait: int) -> Reason:
        kind, type_name, name, holder = self._rows[wait]
        held_by = self.names.get(holder - 1, "") if holder else ""
        return Reason(WAIT_KINDS[kind], self._strings[type_name], self._strings[name], held_by)


def record_waits(
    pid: int, is_enough: Callable[[RecordedWaits], bool], *, stop: bool, timeout_s: float = 60
) -> RecordedWaits:
    """Records until there is enough, or for so long."""
    sampler = pystack.open_sampler(pid, rate_hz=100, stop=stop)
    recorded = RecordedWaits()
    sampler.start()
    deadline = time.monotonic() + timeout_s
    while not is_enough(recorded) and time.monotonic() < deadline:
        batch = sampler.next_batch(0.1)
        if batch is not None:
            recorded.add(batch)
    sampler.stop()
    return recorded
