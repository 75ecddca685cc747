"""The time of each function, in which the past counts less and less."""

from __future__ import annotations

from typing import NamedTuple

from ..profile import Profile
from ..track import EMPTY_STACK, Run
from ..view import time_in_mode
from .decay import DecayedSums
from .selection import Basis
from .slices import Slice, SliceLog

_UNKNOWN, _FIRST, _RECURSIVE = range(3)


class Example(NamedTuple):
    """A stack of one process."""

    profile: Profile
    stack: int  # of its tables
    wait: int


class FunctionTimes:
    """Self and total time per function, by the label's number in the grouping.

    The same as `aggregate.function_totals` of a recording, but each slice costs only what is in it.
    """

    def __init__(self, log: SliceLog, basis: Basis) -> None:
        self.own = DecayedSums[int]()
        self.total = DecayedSums[int]()
        self._log = log
        self._grouping = log.grouping
        self._basis = basis
        self._examples: dict[int, Example] = {}
        # By the merged stacks: whether its function is already among the callers.
        self._recursion = bytearray()

    def example_of(self, function: int) -> Example | None:
        """The stack with the function that had most time when the function was last seen."""
        return self._examples.get(function)

    def add(self, one: Slice) -> None:
        self.own.age(one.elapsed_ns / 1e9)
        self.total.age(one.elapsed_ns / 1e9)
        times: dict[int, int] = {}
        examples: dict[int, tuple[int, Example]] = {}  # with the most time of a single run
        for profile, run in self._runs(one):
            time_ns = time_in_mode(self._basis.mode, run)
            if not time_ns:
                continue
            stack = self._grouping.stack_of_run(profile, run)
            times[stack] = times.get(stack, 0) + time_ns
            if stack not in examples or examples[stack][0] < time_ns:
                examples[stack] = (time_ns, Example(profile, run.stack, run.wait))
        self._add_tree(times, {stack: example for stack, (_, example) in examples.items()})

    def _runs(self, one: Slice) -> list[tuple[Profile, Run]]:
        basis = self._basis
        return [
            (profile, run)
            for profile, window in one.windows.items()
            for track, number in window.numbers.items()
            if basis.of_thread in (None, (profile.process.pid, number))
            for run in track.runs()
            if run.samples and (basis.idle or not self._log.is_idle(profile, run))
        ]

    def _add_tree(self, times: dict[int, int], examples: dict[int, Example]) -> None:
        """Adds the times of stacks to their functions, and to those that called them."""
        parents, frames = self._grouping.parent, self._grouping.frame
        for stack, time_ns in times.items():
            self._add_own(stack, time_ns)
        # Callees have larger numbers than their callers, so a descending order visits them first.
        reached = set(times)
        for stack in times:
            caller = parents[stack]
            while caller and caller not in reached:
                reached.add(caller)
                caller = parents[caller]
        reached.discard(EMPTY_STACK)
        subtree, longest = dict(times), dict(times)
        seen: dict[int, int] = {}  # functions, and the longest time of their stacks
        for stack in sorted(reached, reverse=True):
            time_ns, longest_ns, caller = subtree[stack], longest[stack], parents[stack]
            function = frames[stack]
            if not self._is_hidden(function):
                if self._is_first(stack):
                    self.total.add(function, time_ns)
                if longest_ns > seen.get(function, 0):
                    seen[function] = longest_ns
                    self._examples[function] = examples[stack]
            subtree[caller] = subtree.get(caller, 0) + time_ns
            if longest_ns > longest.get(caller, 0):
                longest[caller], examples[caller] = longest_ns, examples[stack]

    def _add_own(self, stack: int, time_ns: int) -> None:
        """Hidden functions are part of those that called them."""
        parents, frames = self._grouping.parent, self._grouping.frame
        while stack and self._is_hidden(frames[stack]):
            stack = parents[stack]
        if stack:
            self.own.add(frames[stack], time_ns)

    def _is_hidden(self, function: int) -> bool:
        if self._basis.native:
            return False
        return self._grouping.frames[function].is_native

    def _is_first(self, stack: int) -> bool:
        """Whether the function of a stack is not among its callers: recursion counts once."""
        if stack >= len(self._recursion):
            self._recursion.extend(bytes(len(self._grouping.parent) - len(self._recursion)))
        if self._recursion[stack] == _UNKNOWN:
            parents, frames = self._grouping.parent, self._grouping.frame
            function, caller = frames[stack], parents[stack]
            while caller and frames[caller] != function:
                caller = parents[caller]
            self._recursion[stack] = _RECURSIVE if caller else _FIRST
        return self._recursion[stack] == _FIRST
