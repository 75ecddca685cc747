"""Sums in which the past counts less and less."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from math import exp
from typing import Generic, TypeVar

#: After this time, something counts for 1/e (37 %) of what it counted at first.
DECAY_S = 10.0

_LARGEST_UNIT = 1e9
#: In decayed units of what is added; less is forgotten when the unit is renewed.
_LEAST = 1.0

Key = TypeVar("Key", bound=Hashable)


class DecayedSums(Generic[Key]):
    """A sum per key. Its cost does not depend on the number of keys, but for once in some minutes."""

    def __init__(self, decay_s: float = DECAY_S) -> None:
        self._decay_s = decay_s
        self._unit = 1.0  # how much one counts that is added now; instead of lowering all sums
        self._sums: dict[Key, float] = {}

    def age(self, seconds: float) -> None:
        """Lets time pass for all sums."""
        self._unit *= exp(min(seconds / self._decay_s, 100.0))
        if self._unit > _LARGEST_UNIT:
            least = _LEAST * self._unit
            self._sums = {
                key: value / self._unit for key, value in self._sums.items() if value >= least
            }
            self._unit = 1.0

    def add(self, key: Key, amount: float) -> None:
        self._sums[key] = self._sums.get(key, 0.0) + amount * self._unit

    def get(self, key: Key) -> float:
        return self._sums.get(key, 0.0) / self._unit

    def items(self) -> Iterator[tuple[Key, float]]:
        return ((key, value / self._unit) for key, value in self._sums.items())
