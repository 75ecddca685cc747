"""The samples of one thread over time: consecutive runs of equal samples."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from typing import NamedTuple

from pystack.sampling import SampleState

EMPTY_STACK = 0
_GC = SampleState.GC


class Run(NamedTuple):
    """Consecutive samples of one thread with the same stack and state.

    `samples == 0` is a gap: time in which the thread was not sampled. Its stack is empty.
    """

    start_ns: int
    weight_ns: int
    stack: int
    state: int
    samples: int
    # How the kernel divides the time in which the thread was found running (ON_CPU). Sums over several
    # runs are exact; of a single one it can be more than the weight.
    cpu_ns: int = 0  # on a CPU
    runnable_ns: int = 0  # ready to run, without a CPU
    wait: int = 0  # what it waits for; 0: nothing, or it is not known


_new_run: Callable[[tuple[int, ...]], Run] = partial(tuple.__new__, Run)


@dataclass(frozen=True, slots=True)
class ThreadIdentity:
    """The IDs and the name of a thread. `interpreter_id` is `pystack.sampling.NO_INTERPRETER` for a
    thread that no interpreter knows.

    With `is_of_tasks` it is none, but a row of tasks, one after another: `tid` is the thread of their event
    loop, 0 if that is not known.
    """

    pid: int
    tid: int
    interpreter_id: int
    name: str
    is_of_tasks: bool = False


class Track:
    """The runs of one thread, in order of time and without holes: gaps are runs, too."""

    __slots__ = (
        "_cpu_ns",
        "_last_running",
        "_runnable_ns",
        "_samples",
        "_stack",
        "_state",
        "_wait",
        "_weight_ns",
        "changes",
        "end_ns",
        "identity",
        "late_cpu_ns",
        "late_runnable_ns",
        "open_cpu_ns",
        "open_runnable_ns",
        "open_samples",
        "open_stack",
        "open_state",
        "open_wait",
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
        # Time on and without a CPU that no run found running has yet.
        self.late_cpu_ns = 0
        self.late_runnable_ns = 0
        # The last run is kept separately, so that an equal sample costs only two additions.
        self.open_stack = EMPTY_STACK
        self.open_state = 0
        self.open_wait = 0
        self.open_weight_ns = 0
        self.open_samples = 0
        self.open_cpu_ns = 0
        self.open_runnable_ns = 0
        self._last_running = -1  # of the closed runs; -1: none that is known
        self._cpu_ns = array("Q")
        self._runnable_ns = array("Q")
        self._weight_ns = array("Q")
        self._stack = array("I")
        self._state = array("H")
        self._samples = array("I")
        self._wait = array("I")

    @classmethod
    def of_columns(
        cls,
        identity: ThreadIdentity,
        columns: Sequence[Iterable[int]],
        *,
        start_ns: int,
        end_ns: int,
        changes: int,
    ) -> Track:
        """A track of runs whose order is lost, such as the sums of equal ones. `columns`: in the order of
        the fields of a `Run` after its start. They may be gaps."""
        track = cls(identity)
        for column, values in zip(track._columns(), columns, strict=True):
            column.extend(iter(values))  # arrays may be of another type
        track.start_ns = start_ns
        for state in set(track._state):
            track.states |= state
        track.end_ns = end_ns
        track.changes = changes
        return track

    @property
    def run_count(self) -> int:
        return len(self._stack) + (self.open_samples > 0)

    @property
    def waits(self) -> set[int]:
        """All that the thread waited for."""
        return {*self._wait, self.open_wait} - {0}

    @property
    def has_gaps(self) -> bool:
        return 0 in self._samples

    @property
    def has_empty_stacks(self) -> bool:
        """Whether a sample has no frame: no Python frame, and not that of the garbage collector."""
        if self.open_samples and self.open_stack == EMPTY_STACK and not self.open_state & _GC:
            return True
        # Gaps have no stack, too.
        if self._stack.count(EMPTY_STACK) == self._samples.count(0):
            return False
        columns = zip(self._stack, self._state, self._samples, strict=True)
        return any(
            samples and stack == EMPTY_STACK and not state & _GC
            for stack, state, samples in columns
        )

    def begin_run(
        self,
        time_ns: int,
        weight_ns: int,
        stack: int,
        state: int,
        samples: int,
        cpu_ns: int = 0,
        runnable_ns: int = 0,
        wait: int = 0,
    ) -> None:
        """Starts a run with samples up to `time_ns`, after a gap if there was one."""
        start_ns = time_ns - weight_ns
        if self.open_samples == 0:
            self.start_ns = start_ns
        else:
            self._close_run()
            if start_ns > self.end_ns:
                self._add(Run(0, start_ns - self.end_ns, EMPTY_STACK, 0, 0))
            self.changes += 1
        self.states |= state
        self.open_stack = stack
        self.open_state = state
        self.open_wait = wait
        self.open_weight_ns = weight_ns
        self.open_samples = samples
        self.open_cpu_ns = cpu_ns
        self.open_runnable_ns = runnable_ns
        self.end_ns = time_ns
        if state & SampleState.ON_CPU and self.late_cpu_ns + self.late_runnable_ns:
            self.open_cpu_ns += self.late_cpu_ns
            self.open_runnable_ns += self.late_runnable_ns
            self.late_cpu_ns = self.late_runnable_ns = 0

    def add_late_cpu(self, cpu_ns: int, runnable_ns: int) -> None:
        """Adds time that the thread ran between samples: to the run that found it running last."""
        if self.open_samples and self.open_state & SampleState.ON_CPU:
            self.open_cpu_ns += cpu_ns
            self.open_runnable_ns += runnable_ns
        elif self._last_running >= 0:
            self._cpu_ns[self._last_running] += cpu_ns
            self._runnable_ns[self._last_running] += runnable_ns
        else:
            self.late_cpu_ns += cpu_ns
            self.late_runnable_ns += runnable_ns

    def runs(self) -> Iterator[Run]:
        # No code of ours per run: reports and exporters spend their time here.
        starts = accumulate(self._weight_ns, initial=self.start_ns)
        closed = map(_new_run, zip(starts, *self._columns(), strict=False))
        if not self.open_samples:
            return closed
        return chain(closed, [self._open_run(self.start_ns + sum(self._weight_ns))])

    def copy(self) -> Track:
        copied = Track(self.identity)
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(copied, name, value[:] if isinstance(value, array) else value)
        return copied

    def coarsen(self, window_ns: int) -> None:
        """Merges equal runs that begin in the same window. Sums stay exact; the order in a window is lost."""
        kept = 0  # Runs are merged in place, because a second copy would need too much memory.
        window: dict[tuple[int, int, int, bool], list[int]] = {}
        begin_ns = window_end_ns = 0
        for index in range(len(self._stack)):
            if begin_ns >= window_end_ns:
                kept = self._put_window(window, kept)
                window_end_ns = (begin_ns // window_ns + 1) * window_ns
            weight_ns, samples = self._weight_ns[index], self._samples[index]
            key = (self._stack[index], self._state[index], self._wait[index], samples == 0)
            sums = window.setdefault(key, [0, 0, 0, 0])
            sums[0] += weight_ns
            sums[1] += samples
            sums[2] += self._cpu_ns[index]
            sums[3] += self._runnable_ns[index]
            begin_ns += weight_ns
        kept = self._put_window(window, kept)
        for column in self._columns():
            del column[kept:]
        self._last_running = -1

    def _put_window(self, window: dict[tuple[int, int, int, bool], list[int]], index: int) -> int:
        for (stack, state, wait, _), (weight_ns, samples, cpu_ns, runnable_ns) in window.items():
            row = (weight_ns, stack, state, samples, cpu_ns, runnable_ns, wait)
            for column, value in zip(self._columns(), row, strict=True):
                column[index] = value
            index += 1
        window.clear()
        return index

    def _columns(self) -> tuple[array[int], ...]:
        """In the order of the fields of a `Run` after its start."""
        return (
            self._weight_ns,
            self._stack,
            self._state,
            self._samples,
            self._cpu_ns,
            self._runnable_ns,
            self._wait,
        )

    def _open_run(self, start_ns: int) -> Run:
        return Run(
            start_ns,
            self.open_weight_ns,
            self.open_stack,
            self.open_state,
            self.open_samples,
            self.open_cpu_ns,
            self.open_runnable_ns,
            self.open_wait,
        )

    def _close_run(self) -> None:
        if self.open_state & SampleState.ON_CPU:
            self._last_running = len(self._stack)
        self._add(self._open_run(0))

    def _add(self, run: Run) -> None:
        for column, value in zip(self._columns(), run[1:], strict=True):
            column.append(value)
