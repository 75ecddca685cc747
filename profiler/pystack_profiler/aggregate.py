"""Sums over a recording: time per function and per thread. Pure functions that return plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pystack.sampling import SampleState

from .grouping import FrameLabel, Grouping
from .profile import Profile, Recording
from .track import EMPTY_STACK, ThreadIdentity, Track
from .view import DEFAULT_VIEW, View, time_in_mode


@dataclass(frozen=True, slots=True)
class FunctionTotal:
    """Self time and total time of one frame. The total includes callees; recursion counts once."""

    label: FrameLabel
    self_ns: int
    total_ns: int


@dataclass(frozen=True, slots=True)
class ThreadTotal:
    """The times of one thread. A time is None if its state was never measured."""

    identity: ThreadIdentity
    samples: int
    seen_ns: int  # covered by samples
    gap_ns: int  # between samples, but not covered
    on_cpu_ns: int | None
    runnable_ns: int | None  # ready to run, without a CPU
    gil_held_ns: int | None
    gil_wait_ns: int | None
    gil_without_ns: int | None  # neither held the GIL nor waited for it
    gil_blamed_ns: int | None  # others waited while this thread held the GIL
    gc_ns: int
    changes: int


@dataclass(frozen=True, slots=True)
class BlamedStack:
    """A stack that held the GIL while others waited, and their total waiting time."""

    identity: ThreadIdentity
    frames: tuple[FrameLabel, ...]  # root first
    blamed_ns: int


def function_totals(
    recording: Recording,
    view: View = DEFAULT_VIEW,
    tracks: Iterable[tuple[Profile, Track]] | None = None,
) -> list[FunctionTotal]:
    """The totals of every frame, longest total first. `tracks` selects threads."""
    grouping = Grouping(recording.profiles, view.granularity)
    own: dict[int, int] = {}
    for profile, track in recording.tracks() if tracks is None else tracks:
        for run in track.runs():
            if time_ns := time_in_mode(view.mode, run):
                stack = grouping.stack_of_run(profile, run)
                own[stack] = own.get(stack, 0) + time_ns
    own_ns = [0] * len(grouping.parent)
    for stack, weight_ns in own.items():
        own_ns[stack] = weight_ns
    self_ns = [0] * len(grouping.frames)
    for stack in range(1, len(own_ns)):
        self_ns[grouping.frame[stack]] += own_ns[stack]
    total_ns = inclusive(grouping, own_ns)
    totals = [
        FunctionTotal(label, self_ns[frame], total_ns[frame])
        for frame, label in enumerate(grouping.frames)
        if total_ns[frame]
    ]
    totals.sort(key=lambda total: (-total.total_ns, -total.self_ns, total.label.name))
    return totals


def thread_totals(recording: Recording) -> list[ThreadTotal]:
    """In the order of `recording.tracks()`."""
    totals: list[ThreadTotal] = []
    for profile in recording.profiles:
        blamed_ns = dict.fromkeys(profile.tracks, 0)
        for (track, _), time_ns in profile.contention.blamed_ns.items():
            blamed_ns[track] += time_ns
        totals += [_thread_total(track, blamed) for track, blamed in blamed_ns.items()]
    return totals


def blamed_stacks(
    recording: Recording, limit: int, by_function: Grouping | None = None
) -> list[BlamedStack]:
    """The stacks that others waited for longest, by function. `by_function`: the grouping, if there is
    one already."""
    grouping = by_function or Grouping(recording.profiles, "function")
    blamed: dict[tuple[ThreadIdentity, int], int] = {}
    for profile in recording.profiles:
        for (track, stack), time_ns in profile.contention.blamed_ns.items():
            key = (track.identity, grouping.stack_of(profile, stack, 0))
            blamed[key] = blamed.get(key, 0) + time_ns
    longest = sorted(blamed.items(), key=lambda item: -item[1])[:limit]
    return [
        BlamedStack(
            identity, tuple(grouping.frames[frame] for frame in grouping.path(stack)), time_ns
        )
        for (identity, stack), time_ns in longest
    ]


def busiest_track(recording: Recording) -> int | None:
    """The thread to show first: the one with most CPU time, else most GIL time, else most changes.

    Returns its position in `recording.tracks()`, or None if there are no threads.
    """
    totals = thread_totals(recording)
    if not totals:
        return None
    return max(
        range(len(totals)),
        key=lambda index: (
            totals[index].on_cpu_ns or 0,
            totals[index].gil_held_ns or 0,
            totals[index].changes,
            totals[index].seen_ns,
            -index,
        ),
    )


def display_order(tracks: Sequence[tuple[Profile, Track]]) -> list[int]:
    """Positions of the tracks in display order: by process, its main thread first, then by age."""
    place = {profile: index for index, profile in enumerate(dict(tracks))}

    def key(index: int) -> tuple[int, bool, int, int]:
        profile, track = tracks[index]
        who = track.identity
        return place[profile], who.tid != who.pid, who.tid, who.interpreter_id

    return sorted(range(len(tracks)), key=key)


def inclusive(grouping: Grouping, own_ns: list[int]) -> list[int]:
    """The weight of all stacks that contain a frame, per frame. Recursive calls count once."""
    parents, frames = grouping.parent.tolist(), grouping.frame.tolist()
    subtree_ns = own_ns[:]
    # The children of each stack as a chain of siblings; 0 ends it.
    first_child, sibling = [0] * len(own_ns), [0] * len(own_ns)
    for stack in range(len(own_ns) - 1, 0, -1):
        if subtree_ns[stack]:
            parent = parents[stack]
            subtree_ns[parent] += subtree_ns[stack]
            sibling[stack] = first_child[parent]
            first_child[parent] = stack
    total_ns = [0] * len(grouping.frames)
    active = [0] * len(grouping.frames)
    stack = first_child[EMPTY_STACK]
    while stack:
        frame = frames[stack]
        if not active[frame]:
            total_ns[frame] += subtree_ns[stack]
        child = first_child[stack]
        if child:
            active[frame] += 1
            stack = child
            continue
        while stack and not sibling[stack]:
            stack = parents[stack]
            if stack:
                active[frames[stack]] -= 1
        stack = sibling[stack]
    return total_ns


def _thread_total(track: Track, blamed_ns: int) -> ThreadTotal:
    samples = seen_ns = gap_ns = held_ns = wait_ns = without_ns = gc_ns = 0
    on_cpu_ns, runnable_ns = track.late_cpu_ns, track.late_runnable_ns
    for run in track.runs():
        if not run.samples:
            gap_ns += run.weight_ns
            continue
        samples += run.samples
        seen_ns += run.weight_ns
        on_cpu_ns += run.cpu_ns
        runnable_ns += run.runnable_ns
        if run.state & SampleState.HOLDS_GIL:
            held_ns += run.weight_ns
        elif run.state & SampleState.WAITS_FOR_GIL:
            wait_ns += run.weight_ns
        elif run.state & SampleState.GIL_KNOWN:
            without_ns += run.weight_ns
        if run.state & SampleState.GC:
            gc_ns += run.weight_ns
    cpu_known = bool(track.states & SampleState.CPU_KNOWN)
    gil_known = bool(track.states & SampleState.GIL_KNOWN)
    return ThreadTotal(
        identity=track.identity,
        samples=samples,
        seen_ns=seen_ns,
        gap_ns=gap_ns,
        on_cpu_ns=on_cpu_ns if cpu_known else None,
        runnable_ns=runnable_ns if cpu_known else None,
        gil_held_ns=held_ns if gil_known else None,
        gil_wait_ns=wait_ns if gil_known else None,
        gil_without_ns=without_ns if gil_known else None,
        gil_blamed_ns=blamed_ns if gil_known else None,
        gc_ns=gc_ns,
        changes=track.changes,
    )
