"""The sampler's counts, and how those of two stretches of time or two processes are added."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, cast

from pystack.sampling import STATS_MERGES

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats


def no_stats() -> SamplerStats:
    """All counts as zero."""
    zeros: dict[str, Any] = {
        name: [] if merge == "histogram" else 0 for name, merge in STATS_MERGES.items()
    }
    return cast("SamplerStats", zeros)


def add_stats(total: SamplerStats, stats: SamplerStats) -> None:
    """Adds `stats` to `total`; the longest stop is the maximum."""
    totals = cast("dict[str, Any]", total)
    for name, value in cast("dict[str, Any]", stats).items():
        merge = STATS_MERGES[name]
        if merge == "sum":
            totals[name] += value
        elif merge == "maximum":
            totals[name] = max(totals[name], value)
        else:
            pairs = zip_longest(totals[name], value, fillvalue=0)
            totals[name] = [one + other for one, other in pairs]
