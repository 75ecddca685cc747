"""The time of each function in equal parts of a recording: its share, and how much that varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

from ..grouping import NOT_SAMPLED, FrameLabel, Grouping
from ..profile import Recording
from ..view import View, time_in_mode

#: Fewer would tell the variance too badly, more would be shorter than the phases of many programs.
PARTS = 50


class FunctionKey(NamedTuple):
    """What makes a function the same in two versions of a program: its line may have moved."""

    function: str
    file: str

    @classmethod
    def of(cls, label: FrameLabel) -> FunctionKey:
        return cls(label.function, label.file)


@dataclass(slots=True)
class Times:
    """Nanoseconds in each part of the recording."""

    self_ns: list[int] = field(default_factory=lambda: [0] * PARTS)
    total_ns: list[int] = field(default_factory=lambda: [0] * PARTS)


class Series:
    """One recording."""

    def __init__(self, recording: Recording, view: View) -> None:
        recording = recording.in_mode(view.mode)
        grouping = Grouping(recording.profiles, "function")
        keys = [FunctionKey.of(label) for label in grouping.frames]
        self.base_ns = [0] * PARTS
        self.samples = 0
        self.functions: dict[FunctionKey, Times] = {}
        begin_ns = recording.start_ns
        part_ns = max(1, -(-(recording.end_ns - begin_ns) // PARTS))
        weights: dict[tuple[int, int], int] = {}
        for profile, track in recording.tracks():
            for run in track.runs():
                time_ns = time_in_mode(view.mode, run)
                stack = grouping.stack_of_run(profile, run) if time_ns and run.samples else 0
                if stack:
                    middle_ns = run.start_ns + run.weight_ns // 2
                    part = min(max((middle_ns - begin_ns) // part_ns, 0), PARTS - 1)
                    weights[stack, part] = weights.get((stack, part), 0) + time_ns
                    self.samples += run.samples
        frames_of: dict[int, list[FunctionKey]] = {}
        for (stack, part), time_ns in weights.items():
            path = frames_of.get(stack)
            if path is None:
                path = [keys[frame] for frame in grouping.path(stack)]
                frames_of[stack] = path
            self.base_ns[part] += time_ns
            self._times(path[-1]).self_ns[part] += time_ns
            for key in set(path):
                self._times(key).total_ns[part] += time_ns
        self.functions.pop(FunctionKey(NOT_SAMPLED.function, ""), None)

    def _times(self, key: FunctionKey) -> Times:
        return self.functions.setdefault(key, Times())


def share_and_error(
    side: Sequence[tuple[Sequence[int], Series]], deviations: float
) -> tuple[float, float]:
    """The share of the time in the recordings of a side, and its standard error.

    `side`: of each recording, the times in its parts. The error is the largest of three: that of
    samples drawn by chance, that of neighbouring parts (which phases of the program do not
    enlarge), and from three recordings on that of whole recordings. Few recordings tell their own
    variance badly: its error is enlarged so that `deviations` of it are as sure as those of the normal
    distribution.
    """
    whole_ns = sum(sum(series.base_ns) for _, series in side)
    samples = sum(series.samples for _, series in side)
    if not whole_ns or not samples:
        return 0.0, 0.0
    share = sum(map(sum, (times_ns for times_ns, _ in side))) / whole_ns
    errors = [sqrt(share * (1 - share) / samples)] if 0 < share < 1 else [0.0]
    # Differences from the share, in time: those of neighbours tell the variance.
    squares = count = 0.0
    for times_ns, series in side:
        parts = zip(times_ns, series.base_ns, strict=True)
        off_ns = [part_ns - share * base_ns for part_ns, base_ns in parts]
        squares += sum((after - before) ** 2 / 2 for before, after in pairwise(off_ns))
        count += len(off_ns) / (len(off_ns) - 1)
    errors.append(sqrt(squares * count / len(side)) / whole_ns)
    if len(side) >= 3:
        squares = sum(
            (sum(times_ns) - share * sum(series.base_ns)) ** 2 for times_ns, series in side
        )
        between = sqrt(squares * len(side) / (len(side) - 1)) / whole_ns
        errors.append(between * _student(deviations, len(side) - 1) / deviations)
    return share, max(errors)


def _student(z: float, freedom: int) -> float:
    """The quantile of Student's distribution where the normal one's is `z` (first terms of the
    expansion by Cornish and Fisher)."""
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
