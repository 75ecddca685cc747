"""The rows of functions."""

from __future__ import annotations

from ..grouping import FrameLabel
from .function_times import Example, FunctionTimes
from .model import FunctionRow
from .ordering import SteadyOrder
from .places import Places
from .selection import Selection
from .slices import Slice, SliceLog

_MOST_FUNCTIONS = 200
_LEAST_SHARE = 0.0005  # of the time of one thread; functions with less are not listed
#: The total tells which of two functions without time of their own matters more.
_TOTAL_WEIGHT = 1e-3


class FunctionTable:
    def __init__(self, log: SliceLog, places: Places) -> None:
        self._log = log
        self._grouping = log.grouping
        self._places = places
        self._times: FunctionTimes | None = None
        self._basis: object = None
        self._order: SteadyOrder[int] = SteadyOrder()
        self._ordered_by: object = None

    def update(self, new: Slice | None, selection: Selection) -> None:
        """Adds a slice, or all that are kept if the selection is another one than before."""
        if self._times is None or selection.basis != self._basis:
            self._basis = selection.basis
            self._times = FunctionTimes(self._log, selection.basis)
            for one in self._log.history:
                self._times.add(one)
        elif new is not None:
            self._times.add(new)

    def example_of(self, function: int) -> Example | None:
        return None if self._times is None else self._times.example_of(function)

    def rows(self, selection: Selection, elapsed_ns: float) -> tuple[tuple[FunctionRow, ...], int]:
        """The functions in order, and how many are left out."""
        if self._times is None or not elapsed_ns:
            return (), 0
        frames = self._grouping.frames
        total = {
            key: time_ns / elapsed_ns
            for key, time_ns in self._times.total.items()
            if time_ns >= _LEAST_SHARE * elapsed_ns and _matches(frames[key], selection.filter)
        }
        self._places.know(frames[key] for key in total)
        own = {key: self._times.own.get(key) / elapsed_ns for key in total}
        order = self._in_order(selection, own, total)
        rows = tuple(
            FunctionRow(
                key=key,
                name=self._places.name(frames[key]),
                place=self._places.of(frames[key], frames[key].first_line),
                kind=frames[key].kind,
                own=own[key],
                total=total[key],
            )
            for key in order[:_MOST_FUNCTIONS]
        )
        return rows, max(0, len(order) - _MOST_FUNCTIONS)

    def _in_order(
        self, selection: Selection, own: dict[int, float], total: dict[int, float]
    ) -> list[int]:
        by = selection.functions_by
        if by == "name":
            frames = self._grouping.frames
            return sorted(total, key=lambda key: (frames[key].function, frames[key].file))
        if (selection.basis, by) != self._ordered_by:
            self._order, self._ordered_by = SteadyOrder(), (selection.basis, by)
        if by == "total":
            return self._order.update(total)
        return self._order.update({key: own[key] + _TOTAL_WEIGHT * total[key] for key in total})


def _matches(label: FrameLabel, text: str) -> bool:
    wanted = text.lower()
    return not wanted or wanted in label.function.lower() or wanted in label.file.lower()
