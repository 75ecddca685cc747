"""The time of tasks for the flame graph page: of all tasks of an event loop together, by stack."""

from __future__ import annotations

from dataclasses import dataclass

from ..grouping import Grouping
from ..naming import thread_title
from ..profile import Profile, Recording
from ..task_coverage import covered_ns


@dataclass(frozen=True, slots=True)
class LoopTasks:
    """The tasks of one event loop."""

    profile: Profile
    title: str  # escaped
    time_us: dict[int, int]  # by stack of the grouping, in ascending order
    covered_us: int  # the time of the process that samples of tasks speak for


def task_loops(recording: Recording, grouping: Grouping) -> list[LoopTasks]:
    """Adds stacks to `grouping`."""
    loops = []
    for profile in recording.profiles:
        threads = {track.identity.tid: track.identity for track in profile.tracks}
        time_ns: dict[int, dict[int, int]] = {}  # by the thread of the loop
        for track in profile.task_tracks:
            of_loop = time_ns.setdefault(track.identity.tid, {})
            for run in track.runs():
                if run.samples:
                    stack = grouping.stack_of_run(profile, run)
                    of_loop[stack] = of_loop.get(stack, 0) + run.weight_ns
        for tid, of_loop in time_ns.items():
            title = f"tasks of {thread_title(threads[tid])}" if tid in threads else "tasks"
            time_us = {stack: (of_loop[stack] + 500) // 1000 for stack in sorted(of_loop)}
            loops.append(LoopTasks(profile, title, time_us, covered_ns(profile) // 1000))
    return loops
