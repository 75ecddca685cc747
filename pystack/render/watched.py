"""What several dumps of one process say about progress, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pystack.model import Snapshot, Unmoved, Watched
from pystack.render.words import count, duration, task_count


def unmoved_text(group: Sequence[Unmoved]) -> str:
    """Of one thread or task, or of several that are shown as one."""
    first = group[0]
    span = duration(min(one.span_ns for one in group))
    if all(one.cpu_ns == 0 for one in group):
        return f"no progress in {span}"
    text = f"same place in {first.dumps} dumps"
    if len(group) == 1 and first.cpu_ns is not None:
        text += f" over {span}, ran for {duration(first.cpu_ns)} meanwhile"
    return text


def watched_text(snapshot: Snapshot, watched: Watched) -> str:
    """One sentence about all threads and tasks."""
    still = [_stood_still(thread.unmoved, watched) for thread in snapshot.threads]
    parts: list[str] = []
    for number, text in (
        (still.count("no progress"), "made no progress"),
        (still.count("same place"), "ran, but stood at the same place each time"),
        (still.count("moved"), "moved"),
    ):
        if number:
            parts.append(f"{count(number, 'thread') if not parts else number} {text}")
    if snapshot.tasks:
        number = sum(_stood_still(task.unmoved, watched) != "moved" for task in snapshot.tasks)
        parts.append(f"{number} of {task_count(snapshot.tasks)} stood at the same place each time")
    head = f"Watched for {duration(watched.span_ns)} ({count(watched.dumps, 'dump')})"
    return f"{head}: {', '.join(parts)}." if parts else f"{head}."


def _stood_still(unmoved: Unmoved | None, watched: Watched) -> str:
    """In all dumps, or not."""
    if unmoved is None or unmoved.dumps < watched.dumps:
        return "moved"
    return "no progress" if unmoved.cpu_ns == 0 else "same place"
