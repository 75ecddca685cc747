"""Orders rows by numbers that change all the time, so that one can read them meanwhile."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

#: A row overtakes another one only if it is clearly larger: by this factor, and by this share of the largest.
_FACTOR, _MARGIN = 1.15, 0.01


class SteadyOrder(Generic[Key]):
    """Largest first, but rows keep their places as long as they are nearly equal."""

    def __init__(self) -> None:
        self._order: list[Key] = []

    def update(self, values: Mapping[Key, float]) -> list[Key]:
        """The keys of `values`, in order."""
        known = [key for key in self._order if key in values]
        new = sorted(values.keys() - set(known), key=lambda key: -values[key])
        margin = _MARGIN * max(values.values(), default=0.0)
        order: list[Key] = []
        for key in [*known, *new] if known else new:
            place = len(order)
            while place and values[key] > _FACTOR * values[order[place - 1]] + margin:
                place -= 1
            order.insert(place, key)
        self._order = order
        return order
