"""The time of each stack of a recording, in one pass over its samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from pystack.sampling import SampleState

from ..grouping import NOT_SAMPLED, FrameLabel, Grouping
from ..profile import Recording
from ..task_coverage import samples_of_tasks
from ..view import View, time_in_mode

_Z_95 = 1.96  # the normal distribution: 95 of 100 are within so many standard deviations


@dataclass(slots=True)
class Weight:
    """Times in nanoseconds; `time_ns` is that of the mode."""

    time_ns: int = 0
    cpu_ns: int = 0
    gil_ns: int = 0
    samples: int = 0

    def add(self, other: Weight) -> None:
        self.time_ns += other.time_ns
        self.cpu_ns += other.cpu_ns
        self.gil_ns += other.gil_ns
        self.samples += other.samples


class StackWeights:
    """Which stacks had which time. What was not sampled is not a stack."""

    def __init__(self, recording: Recording, view: View) -> None:
        self.grouping = Grouping(
            recording.profiles, view.granularity, full_filenames=view.full_filenames
        )
        self.of_stack: dict[int, Weight] = {}
        self.sum = Weight()
        for profile, track in recording.tracks():
            for run in track.runs():
                time_ns = time_in_mode(view.mode, run)
                if not run.samples or not (time_ns or run.cpu_ns):
                    continue
                stack = self.grouping.stack_of_run(profile, run)
                weight = self.of_stack.get(stack)
                if weight is None:
                    weight = self.of_stack[stack] = Weight()
                weight.time_ns += time_ns
                weight.cpu_ns += run.cpu_ns
                weight.samples += run.samples
                if run.state & SampleState.HOLDS_GIL:
                    weight.gil_ns += run.weight_ns
        for weight in self.of_stack.values():
            self.sum.add(weight)
        #: Tasks are sampled at the same instants, so several of them do not tell more than one.
        self.independent_samples = (
            sum(map(samples_of_tasks, recording.profiles))
            if view.mode == "tasks"
            else self.sum.samples
        )

    def paths(self) -> Iterator[tuple[list[int], Weight]]:
        """The frames of each stack, root first."""
        for stack, weight in self.of_stack.items():
            yield self.grouping.path(stack), weight

    def calls(self) -> list[tuple[int, Weight]]:
        """The weights of stacks that are the same if calls of a function by itself are one, however many there are. Each
        with one of these stacks."""
        # A number for each such path, by the number of its callers: without the paths of what can be 100,000 stacks.
        parents, frames = self.grouping.parent, self.grouping.frame
        numbers = [0] * len(parents)
        known: dict[int, int] = {}
        for stack in range(1, len(parents)):
            parent, frame = parents[stack], frames[stack]
            number = numbers[parent]
            if not parent or frames[parent] != frame:
                number = known.setdefault(number << 32 | frame, len(known) + 1)
            numbers[stack] = number
        found: dict[int, tuple[int, Weight]] = {}
        for stack, weight in self.of_stack.items():
            number = numbers[stack]
            if number not in found:
                found[number] = stack, Weight()
            found[number][1].add(weight)
        return list(found.values())

    def own(self) -> list[int]:
        """The time in the mode of each stack, by its number."""
        own_ns = [0] * len(self.grouping.parent)
        for stack, weight in self.of_stack.items():
            own_ns[stack] = weight.time_ns
        return own_ns

    def is_shown(self, frame: int) -> bool:
        return self.grouping.frames[frame] != NOT_SAMPLED


def without_recursion(path: Sequence[int]) -> tuple[int, ...]:
    return tuple(frame for place, frame in enumerate(path) if not place or frame != path[place - 1])


def label_order(label: FrameLabel) -> tuple[str, str, int, int]:
    """A key to sort labels by, so that equal times are always in the same order."""
    return label.name, label.file, label.first_line or -1, label.at or -1


def uncertainty(share: float, samples: int) -> float:
    """Half the width of the 95 % interval of a share that so many samples tell.

    Each sample counts as independent. Samples of a program with long phases are less.
    """
    share = min(max(share, 0.0), 1.0)
    return _Z_95 * sqrt(share * (1 - share) / samples) if samples else 1.0
