"""What one thread did in a span of time: of a test, for example."""

from __future__ import annotations

from dataclasses import dataclass

from .profile import Profile, Recording
from .track import Track


@dataclass(frozen=True, slots=True)
class Place:
    """A function, and for how long it was the innermost one in a span."""

    function: str
    file: str
    time_ns: int


def thread_of(recording: Recording, tid: int) -> tuple[Profile, Track] | None:
    return next(((p, track) for p, track in recording.tracks() if track.identity.tid == tid), None)


def heaviest_place(profile: Profile, track: Track, begin_ns: int, end_ns: int) -> Place | None:
    """The innermost function that took the longest. None: there are no samples of that time.

    The times are of the monotonic clock, as those of samples.
    """
    tables = profile.tables
    times_ns: dict[tuple[int, int], int] = {}  # by function and file
    for run in track.runs():
        overlap_ns = min(run.start_ns + run.weight_ns, end_ns) - max(run.start_ns, begin_ns)
        if overlap_ns <= 0 or not run.stack:
            continue
        frame = tables.stack_frame[run.stack]
        key = (tables.frame_function[frame], tables.frame_file[frame])
        times_ns[key] = times_ns.get(key, 0) + overlap_ns
    if not times_ns:
        return None
    function, file = max(times_ns, key=lambda key: times_ns[key])
    return Place(tables.strings[function], tables.strings[file], times_ns[function, file])
