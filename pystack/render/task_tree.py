"""asyncio tasks as a tree of who awaits whom, with equal tasks in one group."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pystack.model import Frame, Task


class TaskGroup(NamedTuple):
    """Tasks at the same place that wait for the same kind of thing, and the tasks that they await."""

    tasks: list[Task]
    children: list[TaskGroup]

    def first(self) -> Task:
        """The task that stands for all: the first one of which variables are known, if there is one."""
        return next((task for task in self.tasks if has_variables(task)), self.tasks[0])

    def total(self) -> int:
        """The number of tasks in this group and below it."""
        return sum(len(group.tasks) for _, group in walk([self]))


class TaskTree(NamedTuple):
    """The tasks of one event loop."""

    groups: list[TaskGroup]
    #: Tasks that await each other in a ring: each awaits the next, the last one awaits the first.
    circles: list[list[Task]]


def task_tree(tasks: Sequence[Task]) -> TaskTree:
    """Each task is listed once, below one of those that await it."""
    by_id = {task.id: task for task in tasks}
    awaited: dict[int, list[Task]] = {}
    roots = []
    for task in tasks:
        awaiters = [one for one in task.awaited_by if one in by_id]
        for awaiter in awaiters:
            awaited.setdefault(awaiter, []).append(task)
        if not awaiters:
            roots.append(task)
    seen = {task.id for task in roots}
    groups = _grow(roots, awaited, seen)
    circles = []
    for task in tasks:
        if task.id in seen:
            continue
        # Nobody outside awaits it, so the way up ends in a ring.
        circle = _circle(task, by_id)
        circles.append(circle)
        if circle[0].id not in seen:
            seen.add(circle[0].id)
            groups += _grow([circle[0]], awaited, seen)
    return TaskTree(groups, circles)


def has_variables(task: Task) -> bool:
    """Whether variables of its frames were read."""
    return any(frame.variables is not None for frame in task.frames)


def walk(groups: Sequence[TaskGroup]) -> Iterator[tuple[int, TaskGroup]]:
    """The groups with their depth, parents first. Not recursive: chains can be long."""
    stack = [(0, group) for group in reversed(groups)]
    while stack:
        depth, group = stack.pop()
        yield depth, group
        stack += [(depth + 1, child) for child in reversed(group.children)]


def _grow(roots: list[Task], awaited: dict[int, list[Task]], seen: set[int]) -> list[TaskGroup]:
    """The groups of `roots` with all that they await and that is not in `seen` yet."""
    top = _grouped(roots)
    pending = list(top)
    for group in pending:  # It grows meanwhile.
        below = []
        for task in group.tasks:
            for child in awaited.get(task.id, ()):
                if child.id not in seen:
                    seen.add(child.id)
                    below.append(child)
        group.children.extend(_grouped(below))
        pending.extend(group.children)
    return top


def _grouped(tasks: Iterable[Task]) -> list[TaskGroup]:
    groups: dict[Hashable, TaskGroup] = {}
    # Tasks at the same place share their frames, unless these have variables.
    known: dict[int, int] = {}
    places: dict[Hashable, int] = {}
    for task in tasks:
        place = known.get(id(task.frames))
        if place is None:
            frames = tuple(map(_without_variables, task.frames))
            place = known[id(task.frames)] = places.setdefault(frames, len(places))
        groups.setdefault(_likeness(task, place), TaskGroup([], [])).tasks.append(task)
    return list(groups.values())


def _without_variables(frame: Frame) -> Frame:
    if frame.variables is None:
        return frame
    return frame._replace(variables=None, variables_omitted=0, variables_problem=None)


def _likeness(task: Task, place: int) -> Hashable:
    wait = task.waits_for
    return (
        place,
        task.state,
        task.problem,
        task.unmoved and task.unmoved.dumps,
        None if wait is None else (wait.kind, wait.type, wait.holders),
    )


def _circle(task: Task, by_id: dict[int, Task]) -> list[Task]:
    path = [task]
    places = {task.id: 0}
    while True:
        awaiter = next(one for one in path[-1].awaited_by if one in by_id)
        if awaiter in places:
            first, *others = path[places[awaiter] :]
            return [first, *reversed(others)]
        places[awaiter] = len(path)
        path.append(by_id[awaiter])
