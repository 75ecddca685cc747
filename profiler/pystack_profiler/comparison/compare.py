"""Compares the functions of two sets of recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, median
from typing import Any, Literal

from ..profile import Recording
from ..view import View
from .series import FunctionKey, Series, Times, share_and_error

Measure = Literal["self", "total"]

#: How sure all rows together are: in 95 of 100 comparisons of equal programs no row is significant.
_CONFIDENCE = 0.95
_ALONE = 1.96  # standard deviations: the same for one row alone
_WORTH_A_ROW = 0.001  # of the time, on one side

#: Raised if a key changes its meaning.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """A share of the time before and after. `margin` is what chance explains, in shares."""

    before: float
    after: float
    margin: float
    before_ns: float  # per recording
    after_ns: float
    relative_margin: float  # of `relative`

    @property
    def points(self) -> float:
        return self.after - self.before

    @property
    def is_significant(self) -> bool:
        return abs(self.points) > self.margin

    @property
    def relative(self) -> float | None:
        """How much the time grew: 0.1 is 10 % more. None: there was none before."""
        return self.after_ns / self.before_ns - 1 if self.before_ns else None


@dataclass(frozen=True, slots=True)
class FunctionChange:
    key: FunctionKey
    self_change: Change
    total_change: Change

    def of(self, measure: Measure) -> Change:
        return self.self_change if measure == "self" else self.total_change

    @property
    def is_significant(self) -> bool:
        return self.self_change.is_significant or self.total_change.is_significant


@dataclass(frozen=True, slots=True)
class Comparison:
    view: View
    recordings: tuple[int, int]
    samples: tuple[int, int]
    base_ns: tuple[float, float]  # per recording, of all threads in the mode
    functions: list[FunctionChange]  # significant ones first, by the size of the change

    def chance(self) -> Callable[[FunctionKey], float]:
        """How much larger the margin of a function's total is than that of independent samples (95 %, for
        one row alone). Of functions without a row, the median of the others."""
        factors = {one.key: self._chance(one.total_change) for one in self.functions}
        known = [factor for factor in factors.values() if factor is not None]
        usual = median(known) if known else 1.0
        return lambda key: factors.get(key) or usual

    def _chance(self, change: Change) -> float | None:
        shares = (change.before, change.after)
        variances = [
            share * (1 - share) / samples if samples else 0.0
            for share, samples in zip(shares, self.samples, strict=True)
        ]
        independent = _ALONE * sqrt(max(0.0, sum(variances)))
        return max(1.0, change.margin / independent) if independent else None

    def to_json(self) -> dict[str, Any]:
        return {
            "comparison_version": SCHEMA_VERSION,
            "mode": self.view.mode,
            "confidence": _CONFIDENCE,
            "recordings": self.recordings,
            "samples": self.samples,
            "base_ns": self.base_ns,
            "functions": [
                {
                    "function": one.key.function,
                    "file": one.key.file,
                    "is_significant": one.is_significant,
                    "self": _change_json(one.self_change),
                    "total": _change_json(one.total_change),
                }
                for one in self.functions
            ],
        }


def compare(before: Sequence[Recording], after: Sequence[Recording], view: View) -> Comparison:
    """Each side is one or more recordings of the same program."""
    sides = [[Series(one, view) for one in side] for side in (before, after)]
    bases_ns = [sum(sum(one.base_ns) for one in side) / len(side) for side in sides]
    keys = set[FunctionKey]().union(*(one.functions for side in sides for one in side))
    # Rows that are looked at make chance likelier to show one: each has to be surer (Bonferroni).
    shown = [key for key in keys if any(_share(side, key) >= _WORTH_A_ROW for side in sides)]
    tests = max(1, 2 * len(shown))
    deviations = NormalDist().inv_cdf(1 - (1 - _CONFIDENCE) / 2 / tests)
    functions = [
        FunctionChange(
            key,
            *(_change(sides, bases_ns, key, measure, deviations) for measure in ("self", "total")),
        )
        for key in shown
    ]
    functions.sort(key=_order)
    return Comparison(
        view,
        (len(before), len(after)),
        (sum(one.samples for one in sides[0]), sum(one.samples for one in sides[1])),
        (bases_ns[0], bases_ns[1]),
        functions,
    )


def _share(side: Sequence[Series], key: FunctionKey) -> float:
    base_ns = sum(sum(one.base_ns) for one in side)
    total_ns = sum(sum(one.functions[key].total_ns) for one in side if key in one.functions)
    return total_ns / base_ns if base_ns else 0.0


def _change(
    sides: Sequence[Sequence[Series]],
    bases_ns: Sequence[float],
    key: FunctionKey,
    measure: str,
    deviations: float,
) -> Change:
    shares, errors = [], []
    for side in sides:
        times = [(_parts(one.functions.get(key), measure), one) for one in side]
        share, error = share_and_error(times, deviations)
        shares.append(share)
        errors.append(error)
    relative_errors = [
        error / share if share else 0.0 for share, error in zip(shares, errors, strict=True)
    ]
    return Change(
        before=shares[0],
        after=shares[1],
        margin=deviations * sqrt(errors[0] ** 2 + errors[1] ** 2),
        before_ns=shares[0] * bases_ns[0],
        after_ns=shares[1] * bases_ns[1],
        relative_margin=deviations * sqrt(relative_errors[0] ** 2 + relative_errors[1] ** 2),
    )


def _parts(times: Times | None, measure: str) -> list[int]:
    times = times or Times()
    return times.self_ns if measure == "self" else times.total_ns


def _order(row: FunctionChange) -> tuple[bool, float, float, FunctionKey]:
    size = abs(row.self_change.points)
    return not row.is_significant, -size, -abs(row.total_change.points), row.key


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "before": change.before,
        "after": change.after,
        "points": change.points,
        "margin": change.margin,
        "before_ns": change.before_ns,
        "after_ns": change.after_ns,
        "relative": change.relative,
    }
