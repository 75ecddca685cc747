"""Sums over a profile: time per function and per thread. Pure: a profile in, plain data out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .grouping import FrameLabel, Granularity, Grouping, group
from .profile import EMPTY_STACK, Profile, SampleState, ThreadIdentity, Track


@dataclass(frozen=True, slots=True)
class FunctionTotal:
    """Time in one frame itself, and in it and all it called; recursion counts once."""

    label: FrameLabel
    self_ns: int
    total_ns: int


@dataclass(frozen=True, slots=True)
class ThreadTotal:
    """What one thread did. Times are None where the state was never measured."""

    identity: ThreadIdentity
    samples: int
    seen_ns: int  # covered by samples
    gap_ns: int  # between samples, but not covered
    on_cpu_ns: int | None
    gil_held_ns: int | None
    gil_wait_ns: int | None
    changes: int


def function_totals(
    profile: Profile, granularity: Granularity = "function", tracks: Iterable[Track] | None = None
) -> list[FunctionTotal]:
    """Totals of every frame seen, longest total first. `tracks`: only these threads."""
    grouping = group(profile, granularity)
    own_ns = [0] * len(grouping.parent)
    for track in profile.tracks if tracks is None else tracks:
        for run in track.runs():
            own_ns[grouping.stack_of[run.stack]] += run.weight_ns
    self_ns = [0] * len(grouping.frames)
    for stack in range(1, len(own_ns)):
        self_ns[grouping.frame[stack]] += own_ns[stack]
    total_ns = _inclusive(grouping, own_ns)
    totals = [
        FunctionTotal(label, self_ns[frame], total_ns[frame])
        for frame, label in enumerate(grouping.frames)
        if total_ns[frame]
    ]
    totals.sort(key=lambda total: (-total.total_ns, -total.self_ns, total.label.name))
    return totals


def thread_totals(profile: Profile) -> list[ThreadTotal]:
    return [_thread_total(track) for track in profile.tracks]


def busiest_track(profile: Profile) -> int | None:
    """The thread a reader wants to see first: most time on a CPU, else with the GIL, else lively.

    None: there are no threads.
    """
    totals = thread_totals(profile)
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


def _inclusive(grouping: Grouping, own_ns: list[int]) -> list[int]:
    """Per frame, the weight of all stacks that contain it. Goes down the tree, outermost wins."""
    subtree_ns = own_ns[:]
    children: list[list[int]] = [[] for _ in own_ns]
    for stack in range(len(own_ns) - 1, 0, -1):
        subtree_ns[grouping.parent[stack]] += subtree_ns[stack]
        children[grouping.parent[stack]].append(stack)
    total_ns = [0] * len(grouping.frames)
    active = [0] * len(grouping.frames)
    todo = list(children[EMPTY_STACK])  # a stack to enter, or ~stack to leave
    while todo:
        stack = todo.pop()
        if stack < 0:
            active[grouping.frame[~stack]] -= 1
            continue
        frame = grouping.frame[stack]
        if not active[frame]:
            total_ns[frame] += subtree_ns[stack]
        active[frame] += 1
        todo.append(~stack)
        todo.extend(children[stack])
    return total_ns


def _thread_total(track: Track) -> ThreadTotal:
    samples = seen_ns = gap_ns = on_cpu_ns = gil_held_ns = gil_wait_ns = states = 0
    for run in track.runs():
        if not run.samples:
            gap_ns += run.weight_ns
            continue
        samples += run.samples
        seen_ns += run.weight_ns
        states |= run.state
        if run.state & SampleState.ON_CPU:
            on_cpu_ns += run.weight_ns
        if run.state & SampleState.HOLDS_GIL:
            gil_held_ns += run.weight_ns
        if run.state & SampleState.WAITS_FOR_GIL:
            gil_wait_ns += run.weight_ns
    cpu_known = bool(states & SampleState.CPU_KNOWN)
    gil_known = bool(states & SampleState.GIL_KNOWN)
    return ThreadTotal(
        identity=track.identity,
        samples=samples,
        seen_ns=seen_ns,
        gap_ns=gap_ns,
        on_cpu_ns=on_cpu_ns if cpu_known else None,
        gil_held_ns=gil_held_ns if gil_known else None,
        gil_wait_ns=gil_wait_ns if gil_known else None,
        changes=track.changes,
    )
