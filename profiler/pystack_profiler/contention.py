"""Who held the GIL while others waited for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

from .track import SampleState, Track

_HELD, _RELEASED, _WAITS, _GOES_ON = range(4)
_Event = tuple[int, int, int, int]  # when, which of the four, track, stack


class Contention:
    """For each stack that held the GIL, how long other threads waited for it meanwhile.

    Two threads that wait for a second each while one stack holds the GIL make two seconds.
    """

    def __init__(self) -> None:
        #: Thread and stack -> time that others waited.
        self.blamed_ns: dict[tuple[Track, int], int] = {}
        #: Waiting while no thread was seen to hold it.
        self.unexplained_ns = 0
        self._until_ns = 0

    @property
    def waited_ns(self) -> int:
        return sum(self.blamed_ns.values()) + self.unexplained_ns

    def add_up(self, tracks: Sequence[Track], until_ns: int) -> None:
        """Accounts for the time from the last call to `until_ns`."""
        begin_ns, self._until_ns = self._until_ns, max(self._until_ns, until_ns)
        # An interpreter that shares its GIL with others has holders that are not among its own
        # threads; waiting for those is unexplained.
        by_interpreter: dict[int, list[int]] = {}
        for index, track in enumerate(tracks):
            if track.end_ns > begin_ns:
                by_interpreter.setdefault(track.identity.interpreter_id, []).append(index)
        for indices in by_interpreter.values():
            if any(tracks[index].states & SampleState.WAITS_FOR_GIL for index in indices):
                events = [
                    _events(index, tracks[index], begin_ns, self._until_ns) for index in indices
                ]
                self._sweep(tracks, merge(*events))

    def forget(self, tracks: Sequence[Track]) -> None:
        """They were not of this process."""
        for key in [key for key in self.blamed_ns if key[0] in tracks]:
            del self.blamed_ns[key]

    def _sweep(self, tracks: Sequence[Track], events: Iterable[_Event]) -> None:
        blamed_ns = self.blamed_ns
        holders: dict[int, tuple[Track, int]] = {}  # by track; the last one is believed
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


def _events(index: int, track: Track, begin_ns: int, end_ns: int) -> Iterator[_Event]:
    """When the thread got the GIL and gave it back, began to wait and went on, in order."""
    for run in track.runs():
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
