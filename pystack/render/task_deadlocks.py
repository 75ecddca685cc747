"""Circles of tasks in words: the first lines of a dump."""

from __future__ import annotations

from collections.abc import Iterator

from pystack.model import Snapshot, Task
from pystack.render.escape import escape

_AWAITS_ALL = {"gather": " in its gather()", "task_group": " in its TaskGroup"}


def task_deadlocks(snapshot: Snapshot) -> Iterator[str]:
    """One sentence per circle."""
    by_id = {task.id: task for task in snapshot.tasks or ()}
    for circle in snapshot.task_deadlocks:
        tasks = [by_id[one] for one in circle if one in by_id]
        text = titled_task(tasks[0])
        for number, task in enumerate(tasks):
            following = tasks[(number + 1) % len(tasks)]
            text += f"{', which' if number else ''} {_edge(task, following)}"
        yield f"Deadlock: {text}."


def _edge(task: Task, following: Task) -> str:
    wait = task.waits_for
    if wait is not None and wait.kind == "lock":
        lock = escape((wait.type or "lock").rpartition(".")[2])
        return f"waits for a {lock} held by {titled_task(following)}"
    return f"awaits {titled_task(following)}{_AWAITS_ALL.get(wait.kind, '') if wait else ''}"


def titled_task(task: Task) -> str:
    """Its name, as a part of a sentence."""
    return task_name(task) if task.name is None else f"task {task_name(task)}"


def task_name(task: Task) -> str:
    """Its name, or what stands for it where tasks have none."""
    if task.name is None:
        return f"{'Greenlet' if task.library == 'greenlet' else 'Task'} at {task.id:#x}"
    return escape(task.name)
