"""Keeps a whole recorder, its Python code included, below a share of one CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .process_recorder import ProcessRecorder

_EVERY_S = 1.0
#: What the recorder does now and then, such as writing a file, is spread over about this time.
_MEMORY_S = 30.0
#: Samplers get at least this part of the share: a recording without samples helps nobody.
_LEAST_PART = 0.1
#: If the rest takes more than half, samples are received less often, at most this much later.
_LONGEST_PAUSE_S = 0.75
_PAUSE_STEP = 1.5


class CpuBudget:
    """Gives samplers what the rest of the recorder leaves of its share. They lower their rates by it."""

    def __init__(
        self, share: float, *, whole_process: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`share`: of one CPU, above 0 and at most 1. `whole_process`: the process does nothing but record;
        else only the thread that calls `update` counts, and the sampling threads."""
        self._share = share
        self._whole_process = whole_process
        self._clock = clock
        #: How long to wait before samples are received again, in seconds.
        self.pause_s = 0.0
        self._updated_s = 0.0
        self._cpu_ns = 0
        self._others: float | None = (
            None  # the share that all but the samplers use; None: not known
        )

    def update(self, recorders: Sequence[ProcessRecorder]) -> None:
        """Call this often."""
        now_s = self._clock()
        passed_s = now_s - self._updated_s
        if self._cpu_ns and passed_s < _EVERY_S:
            return
        sampling_ns = sum(one.take_sampling_cpu_ns() for one in recorders)
        before_ns, self._cpu_ns = self._cpu_ns, self._read_cpu_ns()
        self._updated_s = now_s
        if not before_ns:
            return
        used_ns = self._cpu_ns - before_ns - (sampling_ns if self._whole_process else 0)
        used = max(0.0, used_ns / (passed_s * 1e9))
        if self._others is None:
            self._others = used
        else:
            self._others += (used - self._others) * min(1.0, passed_s / _MEMORY_S)
        self._adapt_pause(used)
        self._share_out([one for one in recorders if not one.has_ended])

    def _adapt_pause(self, used: float) -> None:
        if used > self._share / 2:
            self.pause_s = min(_LONGEST_PAUSE_S, max(0.1, self.pause_s * _PAUSE_STEP))
        elif used < self._share / 4:
            self.pause_s = self.pause_s / _PAUSE_STEP if self.pause_s > 0.1 else 0.0

    def _read_cpu_ns(self) -> int:
        return time.process_time_ns() if self._whole_process else time.thread_time_ns()

    def _share_out(self, recorders: Sequence[ProcessRecorder]) -> None:
        assert self._others is not None
        left = max(self._share - self._others, self._share * _LEAST_PART)
        for recorder in recorders:
            recorder.set_max_cpu_share(left / len(recorders))
