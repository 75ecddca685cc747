"""The metadata of every file: the target, how it was recorded, what was lost.

Plain data for JSON; `schema_version` is raised if a key changes its meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pystack.sampling import NO_INTERPRETER

from .aggregate import ThreadTotal, blamed_stacks, thread_totals
from .grouping import Grouping
from .profile import Profile, Recording
from .stats import achieved_rate_hz, coverage
from .view import MODES, View, was_measured

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats

SCHEMA_VERSION = 2

_BLAMED_STACKS = 20


def metadata_of(
    recording: Recording,
    view: View,
    order: Sequence[int] | None = None,
    by_function: Grouping | None = None,
    totals: list[ThreadTotal] | None = None,
) -> dict[str, Any]:
    """`order` is the order of the threads, as positions in `recording.tracks()`; `by_function` as for
    `blamed_stacks`; `totals` are those of the threads, if they are known already."""
    totals = thread_totals(recording) if totals is None else totals
    start = datetime.fromtimestamp(recording.start_time_ns / 1e9, timezone.utc)
    stats = recording.stats
    measured = [mode for mode in MODES if was_measured(mode, recording.states)]
    return {
        "schema_version": SCHEMA_VERSION,
        "target": {
            "pid": recording.pid,
            "command": list(recording.command),
            "processes": [_process(profile) for profile in recording.profiles],
            "other_processes": recording.other_processes,
            "left_out_processes": recording.left_out_processes,
            "unseen_processes": recording.unseen_processes,
            "dead_children_ns": recording.dead_children_ns,
        },
        "recording": {
            "start_time": start.isoformat(timespec="milliseconds"),
            "duration_ns": recording.duration_ns,
            "rate_hz": recording.rate_hz,
            "achieved_rate_hz": achieved_rate_hz(stats),
            "coverage": coverage(stats),
            "stops_target": recording.stops_target,
            "max_cpu_share": recording.max_cpu_share,
            "max_pause_share": recording.max_pause_share,
            "native": recording.native,
            "pauses": _pauses(stats),
            "subprocesses": recording.subprocesses,
            "time_resolution_ns": recording.time_resolution_ns,
            "left_out_samples": recording.left_out_samples,
            "end_reason": recording.end_reason,
            "error": recording.error,
            "tool_cpu_ns": recording.tool_cpu_ns,
        },
        "view": {"mode": view.mode, "measured_modes": measured, "granularity": view.granularity},
        "counts": stats,
        "threads": [_thread(totals[index]) for index in order or range(len(totals))],
        "gil": _gil(recording, totals, by_function),
        "gc_ns": sum(total.gc_ns for total in totals),
    }


def _pauses(stats: SamplerStats) -> list[dict[str, int | None]]:
    """The histogram of the times that a thread was stopped for a sample."""
    last = len(stats["stops"]) - 1
    return [
        {"below_us": 2**index if index < last else None, "count": count}
        for index, count in enumerate(stats["stops"])
        if count
    ]


def _process(profile: Profile) -> dict[str, Any]:
    process = profile.process
    return {
        "pid": process.pid,
        "command": list(process.command),
        "python_version": process.python_version,
        "other_interpreters": list(process.other_interpreters),
        "duration_ns": max(0, profile.end_ns - profile.start_ns),
        "end_reason": process.end_reason,
        "error": process.error,
        "counts": profile.stats,
    }


def _thread(total: ThreadTotal) -> dict[str, Any]:
    interpreter = total.identity.interpreter_id
    return {
        "pid": total.identity.pid,
        "tid": total.identity.tid,
        "interpreter_id": None if interpreter == NO_INTERPRETER else interpreter,
        "name": total.identity.name,
        "samples": total.samples,
        "seen_ns": total.seen_ns,
        "gap_ns": total.gap_ns,
        "on_cpu_ns": total.on_cpu_ns,
        "runnable_ns": total.runnable_ns,
        "gil_held_ns": total.gil_held_ns,
        "gil_wait_ns": total.gil_wait_ns,
        "gil_without_ns": total.gil_without_ns,
        "gil_blamed_ns": total.gil_blamed_ns,
        "gc_ns": total.gc_ns,
    }


def _gil(
    recording: Recording, totals: Sequence[ThreadTotal], by_function: Grouping | None
) -> dict[str, Any] | None:
    """Returns None if the GIL was not measured or does not exist."""
    if not was_measured("gil", recording.states):
        return None
    return {
        "held_ns": sum(total.gil_held_ns or 0 for total in totals),
        "wait_ns": sum(total.gil_wait_ns or 0 for total in totals),
        "unexplained_wait_ns": sum(
            profile.contention.unexplained_ns for profile in recording.profiles
        ),
        "blamed": [
            {
                "pid": blamed.identity.pid,
                "tid": blamed.identity.tid,
                "blamed_ns": blamed.blamed_ns,
                "stack": [
                    {"name": label.name, "file": label.file, "line": label.line}
                    for label in blamed.frames
                ],
            }
            for blamed in blamed_stacks(recording, _BLAMED_STACKS, by_function)
        ],
    }
