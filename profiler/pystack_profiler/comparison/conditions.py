"""Conditions of `diff --fail-if`: `total>+5%`, `parse:self>+2pp`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from pystack.errors import InvalidArgument

from .compare import Comparison, FunctionChange, Measure

_CONDITION = re.compile(
    r"(?:(?P<function>.+):)?(?P<measure>self|total)\s*(?P<than>[<>])\s*"
    r"(?P<number>[+-]?\d+(?:\.\d+)?)\s*(?P<unit>%|pp)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A change that is too much: of a function, or of the whole program's time."""

    text: str
    function: str | None
    measure: Measure
    is_more: bool  # else less
    limit: float
    unit: Literal["%", "pp"]

    def is_met(self, comparison: Comparison) -> bool:
        """Whether the change is beyond the limit, and beyond what chance explains. Raises
        InvalidArgument for a function that neither side has."""
        if self.function is None:
            before_ns, after_ns = comparison.base_ns
            return self._exceeds(100 * (after_ns / before_ns - 1)) if before_ns else False
        rows = [one for one in comparison.functions if _is_named(one, self.function)]
        if not rows:
            raise InvalidArgument(f"no function of the recordings is named {self.function}")
        return any(self._is_met_by(row) for row in rows)

    def _is_met_by(self, row: FunctionChange) -> bool:
        change = row.of(self.measure)
        if self.unit == "pp":
            return self._exceeds(100 * change.points) and change.is_significant
        if change.relative is None:
            return self.is_more and change.is_significant
        is_sure = abs(change.relative) > change.relative_margin
        return self._exceeds(100 * change.relative) and is_sure

    def _exceeds(self, change: float) -> bool:
        return change > self.limit if self.is_more else change < self.limit


def parse_condition(text: str) -> Condition:
    """Raises InvalidArgument if it is none."""
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(
            f"{text!r} is not a condition; write it like total>+5% or parse:self>+2pp"
        )
    if match["function"] is None and (match["measure"], match["unit"]) != ("total", "%"):
        raise InvalidArgument(
            f"{text!r} needs a function: parse:{text.strip()}; for the whole program write total>+5%"
        )
    return Condition(
        text=text,
        function=match["function"],
        measure=cast("Measure", match["measure"]),
        is_more=match["than"] == ">",
        limit=float(match["number"]),
        unit=cast("Literal['%', 'pp']", match["unit"]),
    )


def _is_named(row: FunctionChange, name: str) -> bool:
    function = row.key.function
    return name in (function, function.rpartition(".")[2])
