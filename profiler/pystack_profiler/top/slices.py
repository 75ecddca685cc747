"""Receives the batches of a running recording, and hands them out in slices of time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ..batch import Batch
from ..grouping import Grouping
from ..idle import IdleStacks
from ..profile import Profile
from ..track import Run
from ..window import Window

#: How much of the past is kept to begin anew with another selection. What is older counts for less than 1 %.
HISTORY_S = 50.0


@dataclass(frozen=True, slots=True)
class Slice:
    """What was sampled between two looks, per process."""

    windows: Mapping[Profile, Window]
    elapsed_ns: int  # the time that the samples are from
    tool_cpu_ns: int  # of this whole tool meanwhile


class SliceLog:
    """A `BatchLog`: what it receives is in the next slice. The slices of the last seconds are kept.

    The thread that records appends; another one may look.
    """

    def __init__(self) -> None:
        self.grouping = Grouping((), "function", full_filenames=True)
        self.history: deque[Slice] = deque()
        self._idle: dict[Profile, IdleStacks] = {}
        self._windows: dict[Profile, Window] = {}
        self._lock = threading.Lock()

    def append(self, profile: Profile, batch: Batch) -> None:
        with self._lock:
            self.grouping.grow(profile)
            window = self._windows.get(profile)
            if window is None:
                window = self._windows[profile] = Window()
            window.append(batch, profile.identities)

    def is_idle(self, profile: Profile, run: Run) -> bool:
        """Whether the thread waited for work in a pool or an event loop. Call it while it is held."""
        if profile not in self._idle:
            self._idle[profile] = IdleStacks(profile)
        return self._idle[profile].is_idle(run)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is appended meanwhile, so `grouping` and the tables of the profiles stay as they are."""
        with self._lock:
            yield

    def cut(self, tool_cpu_ns: int) -> Slice | None:
        """Ends the slice; None if nothing was sampled. Call it while it is held."""
        if not self._windows:
            return None
        windows, self._windows = self._windows, {}
        for profile, window in windows.items():
            if profile.only_own_threads:
                window.drop_foreign_threads()
        elapsed_ns = max(window.stats["elapsed_ns"] for window in windows.values())
        cut = Slice(windows, elapsed_ns, tool_cpu_ns)
        self.history.append(cut)
        kept_ns = sum(one.elapsed_ns for one in self.history)
        while kept_ns - self.history[0].elapsed_ns > HISTORY_S * 1e9:
            kept_ns -= self.history.popleft().elapsed_ns
        return cut
