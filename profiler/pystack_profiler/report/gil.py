"""Who waits for the GIL because of a function: `report gil NAME`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pystack.errors import InvalidArgument
from pystack.sampling import SampleState

from ..grouping import FrameLabel, Grouping
from ..profile import Recording
from ..track import EMPTY_STACK
from ..view import View, was_measured
from .names import functions_named
from .overview import SCHEMA_VERSION, label_json
from .weights import label_order


@dataclass(slots=True)
class GilTimes:
    held_ns: int = 0  # with the GIL
    blamed_ns: int = 0  # that others waited meanwhile; two that wait count twice
    waited_ns: int = 0  # for the GIL, by the function itself

    def add(self, other: GilTimes) -> None:
        self.held_ns += other.held_ns
        self.blamed_ns += other.blamed_ns
        self.waited_ns += other.waited_ns

    def to_json(self) -> dict[str, int]:
        return {
            "held_ns": self.held_ns,
            "blamed_ns": self.blamed_ns,
            "waited_ns": self.waited_ns,
        }


@dataclass(frozen=True, slots=True)
class GilAnswer:
    functions: list[FrameLabel]  # that were asked about: all of this name
    all: GilTimes = field(default_factory=GilTimes)  # of the whole recording
    total: GilTimes = field(default_factory=GilTimes)  # of the functions and what they call
    #: By the innermost frame, with those first for which others waited longest.
    rows: list[tuple[FrameLabel, GilTimes]] = field(default_factory=list)
    more_rows: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "report_version": SCHEMA_VERSION,
            "question": "gil",
            "functions": [label_json(label) for label in self.functions],
            "all": self.all.to_json(),
            "total": self.total.to_json(),
            "rows": [{**label_json(label), **times.to_json()} for label, times in self.rows],
        }


def gil_answer(recording: Recording, view: View, name: str, limit: int) -> GilAnswer:
    """Raises InvalidArgument if no function has the name, or the GIL was not measured."""
    if not was_measured("gil", recording.states):
        raise InvalidArgument("it could not be measured which thread held the GIL of this target")
    grouping = Grouping(recording.profiles, view.granularity, full_filenames=view.full_filenames)
    asked = functions_named(grouping.frames, name)
    everything, total, rows = GilTimes(), GilTimes(), dict[int, GilTimes]()
    for stack, times in _times_of_stacks(recording, grouping).items():
        everything.add(times)
        path = grouping.path(stack)
        if not asked.isdisjoint(path):
            total.add(times)
            rows.setdefault(path[-1], GilTimes()).add(times)
    labelled = [(grouping.frames[frame], times) for frame, times in rows.items()]
    labelled.sort(
        key=lambda row: (-row[1].blamed_ns, -row[1].held_ns, -row[1].waited_ns, label_order(row[0]))
    )
    functions = {grouping.frames[frame].of_function for frame in asked}
    return GilAnswer(
        sorted(functions, key=label_order),
        everything,
        total,
        labelled[:limit],
        max(0, len(labelled) - limit),
    )


def _times_of_stacks(recording: Recording, grouping: Grouping) -> dict[int, GilTimes]:
    found: dict[int, GilTimes] = {}
    for profile in recording.profiles:
        for track in profile.tracks:
            for run in track.runs():
                if not run.state & (SampleState.HOLDS_GIL | SampleState.WAITS_FOR_GIL):
                    continue
                # Without the frame that says that it waits.
                stack = grouping.stack_of(profile, run.stack, run.state & SampleState.GC)
                times = found.setdefault(stack, GilTimes())
                if run.state & SampleState.HOLDS_GIL:
                    times.held_ns += run.weight_ns
                else:
                    times.waited_ns += run.weight_ns
        for (_, stack), waited_ns in profile.contention.blamed_ns.items():
            here = grouping.stack_of(profile, stack, 0)
            found.setdefault(here, GilTimes()).blamed_ns += waited_ns
    found.pop(EMPTY_STACK, None)  # the holder's samples are not in the recording
    return found
