"""GIL contention: which stacks held the GIL while other threads waited for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge

from pystack.sampling import SampleState

from .track import Track

_HELD, _RELEASED, _WAITS, _GOES_ON = range(4)
_Event = tuple[int, int, int, int]  # time, one of the four above, track, stack


class Contention:
    """Charges waiting time to the stack that held the GIL at that moment.

    If two threads each wait for one second, the holder is charged two seconds.
    """

    def __init__(self) -> None:
        #: (thread, stack) -> the time that others waited.
        self.blamed_ns: dict[tuple[Track, int], int] = {}
        #: Waiting time with no holder observed.
        self.unexplained_ns = 0
        self._until_ns = 0

    @property
    def waited_ns(self) -> int:
        return sum(self.blamed_ns.values()) + self.unexplained_ns

    def copy(self, copy_of: Mapping[Track, Track] | None = None) -> Contention:
        """The same times, charged to the copies of the tracks if these are given."""
        copied = Contention()
        copied.blamed_ns = {
            (copy_of[track] if copy_of else track, stack): time_ns
            for (track, stack), time_ns in self.blamed_ns.items()
        }
        copied.unexplained_ns = self.unexplained_ns
        copied._until_ns = self._until_ns
        return copied

    def add_up(
        self, tracks: Sequence[Track], until_ns: int, called: Mapping[int, int] | None = None
    ) -> None:
        """Adds the time between the last call and `until_ns`. `called`: the interpreters of stacks
        that are not run by that of their thread.
        """
        called = called or {}
        begin_ns, self._until_ns = self._until_ns, max(self._until_ns, until_ns)
        # If interpreters share a GIL, the holder may be a thread of another interpreter; waiting for
        # such a holder is unexplained.
        by_interpreter: dict[int, list[int]] = {}
        for index, track in enumerate(tracks):
            if track.end_ns > begin_ns:
                for interpreter_id in _interpreters(track, called):
                    by_interpreter.setdefault(interpreter_id, []).append(index)
        for interpreter_id, indices in by_interpreter.items():
            if any(tracks[index].states & SampleState.WAITS_FOR_GIL for index in indices):
                events = [
                    _events(index, tracks[index], begin_ns, self._until_ns, interpreter_id, called)
                    for index in indices
                ]
                self._sweep(tracks, merge(*events))

    def forget(self, tracks: Sequence[Track]) -> None:
        """Removes threads that do not belong to this process."""
        for key in [key for key in self.blamed_ns if key[0] in tracks]:
            del self.blamed_ns[key]

    def _sweep(self, tracks: Sequence[Track], events: Iterable[_Event]) -> None:
        blamed_ns = self.blamed_ns
        holders: dict[
            int, tuple[Track, int]
        ] = {}  # by track; if there are several, the last counts
        waiting = 0
        since_ns = 0
        for time_ns, what, track, stack in events:
            if waiting and time_ns > since_ns:
                waited_ns = waiting * (time_ns - since_ns)
                if holders:
                    holder = next(reversed(holders.values()))
                    blamed_ns[holder] = blamed_ns.get(holder, 0) + waited_ns
                else:
                    self.unexplained_ns += waited_ns
            since_ns = time_ns
            if what == _WAITS:
                waiting += 1
            elif what == _GOES_ON:
                waiting -= 1
            elif what == _HELD:
                holders[track] = (tracks[track], stack)
            else:
                del holders[track]


def _interpreters(track: Track, called: Mapping[int, int]) -> set[int]:
    """Those that a thread runs."""
    own = track.identity.interpreter_id
    if not called:
        return {own}
    return {own} | {called.get(run.stack, own) for run in track.runs()}


def _events(
    index: int,
    track: Track,
    begin_ns: int,
    end_ns: int,
    interpreter_id: int,
    called: Mapping[int, int],
) -> Iterator[_Event]:
    """When the thread acquired and released the GIL of the interpreter, and when it began and stopped
    waiting for it, in order.
    """
    own = track.identity.interpreter_id
    for run in track.runs():
        if called.get(run.stack, own) != interpreter_id:
            continue
        start_ns = max(run.start_ns, begin_ns)
        stop_ns = min(run.start_ns + run.weight_ns, end_ns)
        if start_ns >= stop_ns:
            continue
        if run.state & SampleState.HOLDS_GIL:
            yield start_ns, _HELD, index, run.stack
            yield stop_ns, _RELEASED, index, run.stack
        elif run.state & SampleState.WAITS_FOR_GIL:
            yield start_ns, _WAITS, index, 0
            yield stop_ns, _GOES_ON, index, 0
