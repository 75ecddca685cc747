"""The samples of one thread over time: consecutive runs of equal samples."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

EMPTY_STACK = 0


class Run(NamedTuple):
    """Consecutive samples of one thread with the same stack and state.

    `samples == 0` is a gap: time in which the thread was not sampled. Its stack is empty.
    """

    start_ns: int
    weight_ns: int
    stack: int
    state: int
    samples: int


@dataclass(frozen=True, slots=True)
class ThreadIdentity:
    """The IDs and the name of a thread. `interpreter_id` is `pystack.sampling.NO_INTERPRETER` for a
    thread that no interpreter knows."""

    pid: int
    tid: int
    interpreter_id: int
    name: str


class Track:
    """The runs of one thread, in order of time and without holes: gaps are runs, too."""

    __slots__ = (
        "_samples",
        "_stack",
        "_state",
        "_weight_ns",
        "changes",
        "end_ns",
        "identity",
        "open_samples",
        "open_stack",
        "open_state",
        "open_weight_ns",
        "start_ns",
        "states",
    )

    def __init__(self, identity: ThreadIdentity) -> None:
        self.identity = identity
        self.start_ns = 0
        self.end_ns = 0
        self.changes = 0  # the number of changes of stack or state: a measure of activity
        self.states = 0  # the union of the state bits of all samples
        # The last run is kept separately, so that an equal sample costs only two additions.
        self.open_stack = EMPTY_STACK
        self.open_state = 0
        self.open_weight_ns = 0
        self.open_samples = 0
        self._weight_ns = array("Q")
        self._stack = array("I")
        self._state = array("H")
        self._samples = array("I")

    @property
    def run_count(self) -> int:
        return len(self._stack) + (self.open_samples > 0)

    def begin_run(self, time_ns: int, weight_ns: int, stack: int, state: int, samples: int) -> None:
        """Starts a run with samples up to `time_ns`, after a gap if there was one."""
        start_ns = time_ns - weight_ns
        if self.open_samples == 0:
            self.start_ns = start_ns
        else:
            self._close_run()
            if start_ns > self.end_ns:
                self._add(start_ns - self.end_ns, EMPTY_STACK, 0, 0)
            self.changes += 1
        self.states |= state
        self.open_stack = stack
        self.open_state = state
        self.open_weight_ns = weight_ns
        self.open_samples = samples
        self.end_ns = time_ns

    def runs(self) -> Iterator[Run]:
        start_ns = self.start_ns
        for weight_ns, stack, state, samples in zip(
            self._weight_ns, self._stack, self._state, self._samples, strict=True
        ):
            yield Run(start_ns, weight_ns, stack, state, samples)
            start_ns += weight_ns
        if self.open_samples:
            yield Run(
                start_ns, self.open_weight_ns, self.open_stack, self.open_state, self.open_samples
            )

    def copy(self) -> Track:
        copied = Track(self.identity)
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(copied, name, value[:] if isinstance(value, array) else value)
        return copied

    def coarsen(self, window_ns: int) -> None:
        """Merges equal runs that begin in the same window. Sums stay exact; the order in a window is lost."""
        kept = 0  # Runs are merged in place, because a second copy would need too much memory.
        window: dict[tuple[int, int, bool], list[int]] = {}
        begin_ns = window_end_ns = 0
        for index in range(len(self._stack)):
            if begin_ns >= window_end_ns:
                kept = self._put_window(window, kept)
                window_end_ns = (begin_ns // window_ns + 1) * window_ns
            weight_ns, samples = self._weight_ns[index], self._samples[index]
            sums = window.setdefault((self._stack[index], self._state[index], samples == 0), [0, 0])
            sums[0] += weight_ns
            sums[1] += samples
            begin_ns += weight_ns
        kept = self._put_window(window, kept)
        for column in (self._weight_ns, self._stack, self._state, self._samples):
            del column[kept:]

    def _put_window(self, window: dict[tuple[int, int, bool], list[int]], index: int) -> int:
        for (stack, state, _), (weight_ns, samples) in window.items():
            self._weight_ns[index] = weight_ns
            self._stack[index] = stack
            self._state[index] = state
            self._samples[index] = samples
            index += 1
        window.clear()
        return index

    def _close_run(self) -> None:
        self._add(self.open_weight_ns, self.open_stack, self.open_state, self.open_samples)

    def _add(self, weight_ns: int, stack: int, state: int, samples: int) -> None:
        self._weight_ns.append(weight_ns)
        self._stack.append(stack)
        self._state.append(state)
        self._samples.append(samples)
