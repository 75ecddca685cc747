"""What the threads waited for: the longest waits, and the threads and stacks that held what others wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..grouping import FrameLabel, Grouping
from ..naming import recording_title, thread_title
from ..profile import Recording
from ..stats import format_share, format_time, plural
from ..track import ThreadIdentity
from ..waits import HolderTotal, ReasonTotal, lock_blame, wait_totals
from .overview import SCHEMA_VERSION, label_json

_HOLDERS = 10


@dataclass(frozen=True, slots=True)
class HoldingStack:
    """A stack that held what others waited for, and their time."""

    holder: ThreadIdentity
    frames: list[FrameLabel]  # root first
    time_ns: int


@dataclass(frozen=True, slots=True)
class WaitReport:
    title: str
    waited_ns: int  # of all threads, for whatever
    unknown_ns: int  # of that: it is not known for what
    reasons: list[ReasonTotal]
    more_reasons: int
    holders: list[HolderTotal]
    stacks: list[HoldingStack]

    def to_json(self) -> dict[str, Any]:
        return {
            "report_version": SCHEMA_VERSION,
            "question": "waits",
            "title": self.title,
            "waited_ns": self.waited_ns,
            "unknown_ns": self.unknown_ns,
            "reasons": [
                {
                    "kind": reason.kind,
                    "text": reason.text,
                    "time_ns": reason.time_ns,
                    "samples": reason.samples,
                    "threads": len(reason.threads),
                }
                for reason in self.reasons
            ],
            "holders": [
                {**_thread_json(one.holder), "text": one.text, "time_ns": one.time_ns}
                for one in self.holders
            ],
            "stacks": [
                {
                    **_thread_json(one.holder),
                    "time_ns": one.time_ns,
                    "frames": [label_json(label) for label in one.frames],
                }
                for one in self.stacks
            ],
        }


def wait_report(recording: Recording, limit: int) -> WaitReport:
    """`limit` is the number of reasons. The recording must have its samples in order."""
    totals = wait_totals(recording)
    return WaitReport(
        recording_title(recording),
        totals.waited_ns,
        totals.unknown_ns,
        totals.reasons[:limit],
        max(0, len(totals.reasons) - limit),
        totals.holders[:_HOLDERS],
        _stacks(recording)[:_HOLDERS],
    )


def wait_text_lines(report: WaitReport) -> list[str]:
    waited = format_time(report.waited_ns)
    lines = [report.title, f"100 % is {waited}, the waiting time of all threads"]
    if report.unknown_ns:
        lines.append(
            f"for what is unknown in {format_share(report.unknown_ns, report.waited_ns)}"
            f" ({format_time(report.unknown_ns)})"
        )
    lines += ["", f"{'share':>7} {'time':>9}  waiting for"]
    for reason in report.reasons:
        threads = plural(len(reason.threads), "thread")
        lines.append(f"{_row(reason.time_ns, report.waited_ns)}  {reason.text} ({threads})")
    if report.more_reasons:
        lines.append(f"        and {plural(report.more_reasons, 'more reason')} (--limit)")
    if report.holders:
        lines += ["", "whom they waited for"]
    for one in report.holders:
        who = thread_title(one.holder)
        lines.append(f"{_row(one.time_ns, report.waited_ns)}  {who}: {one.text}")
    if report.stacks:
        lines += ["", "where the holders of locks were meanwhile"]
    for stack in report.stacks:
        where = " > ".join(label.name for label in stack.frames) or "no Python code"
        lines.append(
            f"{_row(stack.time_ns, report.waited_ns)}  {thread_title(stack.holder)}: {where}"
        )
    return lines


def _stacks(recording: Recording) -> list[HoldingStack]:
    grouping = Grouping(recording.profiles, "function")
    found: dict[tuple[ThreadIdentity, int], int] = {}
    for profile in recording.profiles:
        for (track, stack), time_ns in lock_blame(profile).items():
            key = (track.identity, grouping.stack_of(profile, stack, 0))
            found[key] = found.get(key, 0) + time_ns
    stacks = [
        HoldingStack(who, [grouping.frames[frame] for frame in grouping.path(stack)], time_ns)
        for (who, stack), time_ns in found.items()
    ]
    return sorted(stacks, key=lambda one: (-one.time_ns, one.holder.tid))


def _thread_json(who: ThreadIdentity) -> dict[str, Any]:
    return {"pid": who.pid, "tid": who.tid, "name": who.name}


def _row(time_ns: int, base_ns: int) -> str:
    share = 100 * time_ns / base_ns if base_ns else 0.0
    return f"{share:5.1f} % {format_time(time_ns):>9}"
