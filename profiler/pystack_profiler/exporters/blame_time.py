"""The time that others waited for the GIL or a lock, by its holder, for the flame graph page."""

from __future__ import annotations

from collections.abc import Mapping

from ..grouping import Grouping
from ..profile import Profile, Recording
from ..track import Track
from ..waits import lock_blame


def blamed_ns(recording: Recording) -> dict[tuple[Profile, Track, int], int]:
    """How long others waited for the GIL or a lock, by its holder and the holder's stack."""
    blamed: dict[tuple[Profile, Track, int], int] = {}
    for profile in recording.profiles:
        # Without the order of the samples, nobody knows where the holder of a lock was meanwhile.
        of_locks = {} if profile.time_resolution_ns else lock_blame(profile)
        for blame in (profile.contention.blamed_ns, of_locks):
            for (holder, stack), time_ns in blame.items():
                key = profile, holder, stack
                blamed[key] = blamed.get(key, 0) + time_ns
    return blamed


def by_stack_us(
    blamed: Mapping[tuple[Profile, Track, int], int], grouping: Grouping
) -> dict[Track, dict[int, int]]:
    """In microseconds, by the holder and its stack in `grouping`, which gets more of them."""
    by_stack: dict[Track, dict[int, int]] = {}
    for (profile, holder, stack), time_ns in blamed.items():
        of_holder = by_stack.setdefault(holder, {})
        here = grouping.stack_of(profile, stack, 0)
        of_holder[here] = of_holder.get(here, 0) + time_ns
    return {
        holder: {stack: (time_ns + 500) // 1000 for stack, time_ns in of_holder.items()}
        for holder, of_holder in by_stack.items()
    }
