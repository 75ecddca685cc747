"""Several recordings as one: the runs of several containers, or of several ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .profile import EndReason, Recording


def begins_ns(recordings: Sequence[Recording]) -> list[int]:
    """When each of them begins, on a common clock: at its own time if all ran at the same time, for a
    while at least; else all begin together."""
    starts = [one.start_time_ns for one in recordings]
    first_ns = min(starts)
    ends = [one.start_time_ns + one.duration_ns for one in recordings]
    base_ns = max(one.began_ns for one in recordings)
    ran_together = max(starts) < min(ends)
    return [base_ns + (start_ns - first_ns if ran_together else 0) for start_ns in starts]


def combined(recordings: Sequence[Recording]) -> Recording:
    """The processes of all of them; the facts are those of the first, or sums. Their times are on one
    clock (`begins_ns`)."""
    first = recordings[0]
    reasons = [one.end_reason for one in recordings]
    worst: Sequence[EndReason] = ("running", "failed")
    return replace(
        first,
        rate_hz=max(one.rate_hz for one in recordings),
        native=any(one.native for one in recordings),
        stops_target=any(one.stops_target for one in recordings),
        max_cpu_share=max(one.max_cpu_share for one in recordings),
        max_pause_share=max(one.max_pause_share for one in recordings),
        subprocesses=True,
        other_processes=sum(one.other_processes for one in recordings),
        left_out_processes=sum(one.left_out_processes for one in recordings),
        unseen_processes=sum(one.unseen_processes for one in recordings),
        dead_children_ns=sum(one.dead_children_ns for one in recordings),
        python_children=sum(one.python_children for one in recordings),
        tool_cpu_ns=sum(one.tool_cpu_ns for one in recordings),
        start_time_ns=min(one.start_time_ns for one in recordings),
        began_ns=min(one.began_ns for one in recordings),
        ended_ns=max(one.end_ns for one in recordings),
        end_reason=next((reason for reason in worst if reason in reasons), first.end_reason),
        error=next((one.error for one in recordings if one.error), None),
        profiles=[profile for one in recordings for profile in one.profiles],
    )
