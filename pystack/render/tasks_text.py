"""The lines of tasks: a tree of who awaits whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pystack.model import Frame, Snapshot, Task, TaskWait, Thread
from pystack.render.escape import escape
from pystack.render.stack_text import StackText
from pystack.render.task_deadlocks import task_name
from pystack.render.task_tree import TaskGroup, has_variables, task_tree, walk
from pystack.render.terminal import Palette
from pystack.render.text_options import TextOptions
from pystack.render.watched import unmoved_text
from pystack.render.words import count, duration

_MAX_GROUPS = 20
_MAX_NAMES = 3
_MAX_INDENT = 24
_MAX_CHAIN = 12

# Parts of paths: trio and anyio have their own functions in files with an underscore.
_LIBRARIES = (
    "/asyncio/",
    "/trio/_",
    "/anyio/_",
    "/anyio/streams/",
    "/anyio/to_thread.py",
    "/gevent/",
    "/eventlet/",
)
_STATES = {"created": "not started", "ready": "ready to run", "running": "running"}
# The class of `self`, which names of functions below 3.11 do not have. Above, it can be a private base.
_METHODS = frozenset(
    {
        "lock",
        "semaphore",
        "condition",
        "event",
        "barrier",
        "queue_get",
        "queue_put",
        "queue_join",
        "stream_read",
    }
)


class TasksText:
    """Makes the lines of the tasks of one snapshot."""

    def __init__(
        self, snapshot: Snapshot, palette: Palette, options: TextOptions, stacks: StackText
    ) -> None:
        self._palette = palette
        self._options = options
        self._stacks = stacks
        self._by_id = {task.id: task for task in snapshot.tasks or ()}
        loops = {thread.event_loop.id for thread in snapshot.threads if thread.event_loop}
        self._of_loop: dict[int, list[Task]] = {}
        self._greenlets: dict[int, list[Task]] = {}
        self._homeless: list[Task] = []
        threads = {thread.python_thread_id for thread in snapshot.threads}
        for task in snapshot.tasks or ():
            if task.python_thread_id is not None and task.python_thread_id in threads:
                self._greenlets.setdefault(task.python_thread_id, []).append(task)
            elif task.loop in loops:
                self._of_loop.setdefault(task.loop, []).append(task)
            else:
                self._homeless.append(task)

    def of_thread(self, thread: Thread) -> Iterator[str]:
        """Those of the event loop that is running in the thread, if there is one, and its greenlets."""
        yield from self._of_event_loop(thread)
        if thread.python_thread_id in self._greenlets:
            greenlets = self._greenlets[thread.python_thread_id]
            head = f"  {count(len(greenlets), 'suspended greenlet')} of this thread:"
            yield self._palette.paint(self._palette.head, head)
            yield from self._tree(greenlets)

    def _of_event_loop(self, thread: Thread) -> Iterator[str]:
        loop = thread.event_loop
        if loop is None:
            return
        tasks = self._of_loop.get(loop.id, [])
        running = None if loop.running_task is None else self._by_id.get(loop.running_task)
        if running is not None:
            what = f"task {task_name(running)} is running"
        elif loop.running_task is not None:
            what = "a task is running"
        else:
            what = "no task is running"
        if loop.busy_s is not None:
            what += f", not back in the loop for {duration(round(loop.busy_s * 1e9))}"
        kind = "Run of trio in" if (loop.type or "").startswith("trio.") else "Event loop of"
        yield self._palette.paint(
            self._palette.head, f"  {kind} this thread: {count(len(tasks), 'task')}, {what}"
        )
        yield from self._tree(tasks)

    def without_thread(self) -> Iterator[str]:
        """Those whose event loop is not running in any thread, and others whose thread is unknown."""
        for library, kind, what in (
            ("asyncio", "task", "of event loops that are not running in any thread"),
            ("trio", "trio task", "of which the thread is unknown"),
            ("greenlet", "suspended greenlet", "of which the thread is unknown"),
        ):
            tasks = [task for task in self._homeless if task.library == library]
            if tasks:
                head = f"{count(len(tasks), kind)} {what}:"
                yield self._palette.paint(self._palette.head, head)
                yield from self._tree(tasks)

    def _tree(self, tasks: Sequence[Task]) -> Iterator[str]:
        tree = task_tree(tasks)
        for circle in tree.circles:
            names = [task_name(task) for task in circle]
            text = "    Circle of tasks: " + ", which awaits ".join([*names, names[0]])
            yield self._palette.paint(
                self._palette.bad, text.replace(", which awaits ", " awaits ", 1)
            )
        shown = 0
        left_out = 0
        for depth, group in walk(tree.groups):
            if shown >= _MAX_GROUPS and not self._options.all_tasks:
                left_out += len(group.tasks)
                continue
            shown += 1
            indent = "  " * min(depth, _MAX_INDENT)
            for line in self._group(group):
                yield f"  {indent}{line}"
        if left_out:
            verb = "is" if left_out == 1 else "are"
            what = "more greenlet" if tasks[0].library == "greenlet" else "more task"
            yield f"    ... {count(left_out, what)} {verb} not shown (--tasks shows all)"

    def _group(self, group: TaskGroup) -> Iterator[str]:
        first = group.first()
        name = self._palette.paint(self._palette.head, _names(group.tasks))
        details = [*self._details(group.tasks)]
        chain = " > ".join(_chain(first))
        head = f"  {name}{': ' if chain else ''}{chain}"
        yield head + (f" ({', '.join(details)})" if details else "")
        frames = first.frames if self._options.full else _own_frames(first.frames)
        for line in self._stacks.frames(frames):
            yield f"  {line}"
        if len(group.tasks) > 1 and has_variables(first):
            note = f"    (these are the variables of {task_name(first)})"
            yield self._palette.paint(self._palette.dim, note)

    def _details(self, tasks: Sequence[Task]) -> Iterator[str]:
        first = tasks[0]
        if first.state in _STATES:
            yield _STATES[first.state]
        wait = first.waits_for
        if wait is not None:
            yield from self._wait(wait, tasks)
        elif first.state == "waiting":
            yield "the reason for waiting is unknown"
        if first.problem is not None:
            yield self._palette.paint(self._palette.bad, escape(first.problem))
        if first.unmoved is not None:
            yield unmoved_text([first.unmoved])
        awaiters = {one for task in tasks for one in task.awaited_by}
        unlisted = [one for one in awaiters if one not in self._by_id]
        if unlisted:
            yield "awaited by a task that could not be read"

    def _wait(self, wait: TaskWait, tasks: Sequence[Task]) -> Iterator[str]:
        waits = [task.waits_for for task in tasks if task.waits_for is not None]
        if wait.kind == "sleep":
            rest = sorted(one.remaining_s for one in waits if one.remaining_s is not None)
            if rest:
                yield _time_left(rest)
        elif wait.kind == "process":
            pids = sorted({one.pid for one in waits if one.pid is not None})
            if pids:
                yield f"child process{'es' * (len(pids) > 1)} {', '.join(map(str, pids[:8]))}"
        elif wait.kind in ("stream_read", "stream_write"):
            targets = sorted({one.target for one in waits if one.target is not None})
            if targets:
                more = f" and {len(targets) - 1} more" * (len(targets) > 1)
                verb = "data from" if wait.kind == "stream_read" else "room to write to"
                yield f"{verb} {escape(targets[0])}{more}"
        elif wait.kind == "executor":
            yield "work in an executor"
        elif wait.kind in ("future", "other"):
            yield f"waits for {escape(wait.type or 'an unknown object')}"
        elif wait.kind == "task":
            names = {one.id: one for one in waits if one.id is not None}
            known = [self._by_id[one] for one in names if one in self._by_id]
            if len(names) == 1 and known:
                yield f"awaits {task_name(known[0])}"
            elif len(names) > 1:
                yield f"await {len(names)} tasks"
        if wait.holders:
            holders = [self._by_id[one] for one in wait.holders if one in self._by_id]
            yield f"held by {_list(holders) or 'a task that is not shown'}"


def _list(tasks: Sequence[Task]) -> str:
    names = [task_name(task) for task in sorted(tasks, key=_order)]
    rest = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _names(tasks: Sequence[Task]) -> str:
    if len(tasks) == 1:
        return task_name(tasks[0])
    if tasks[0].library == "greenlet":
        classes = sorted({task_name(task) for task in tasks})
        more = ", ..." * (len(classes) > _MAX_NAMES)
        return f"{len(tasks)} greenlets ({', '.join(classes[:_MAX_NAMES])}{more})"
    names = [task_name(task) for task in sorted(tasks, key=_order)]
    if len(names) <= _MAX_NAMES:
        return f"{len(names)} tasks {', '.join(names)}"
    return f"{len(names)} tasks {names[0]} ... {names[-1]}"


def _order(task: Task) -> list[tuple[int, str]]:
    """Names with numbers in them in the order of the numbers."""
    parts = re.split(r"(\d+)", task_name(task), maxsplit=8)
    return [(int(part) if part.isdecimal() and len(part) < 18 else -1, part) for part in parts]


def _is_of_library(frame: Frame) -> bool:
    return any(part in frame.file for part in _LIBRARIES)


def _own_frames(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Without what the libraries do between them, unless there is nothing else."""
    own = [frame for frame in frames if not _is_of_library(frame)]
    return own or frames[-1:]


def _chain(task: Task) -> list[str]:
    """The functions that await each other; of those of a library, the one that was called."""
    words: list[str] = []
    inside_library = False
    for frame in task.frames:
        is_inside = _is_of_library(frame)
        # `async with` goes through a method that says nothing.
        if is_inside and (inside_library or frame.function == "__aenter__"):
            continue
        inside_library = is_inside
        words.append(escape(_function(frame, task.waits_for) if is_inside else _short(frame.name)))
    if task.waits_for is not None and task.waits_for.kind == "gather":
        words.append("gather")
    if len(words) > _MAX_CHAIN:
        half = _MAX_CHAIN // 2
        words[half:-half] = [f"... {len(words) - 2 * half} more ..."]
    return words


def _function(frame: Frame, wait: TaskWait | None) -> str:
    if frame.function in ("__aexit__", "_aexit") and wait is not None and wait.kind == "task_group":
        return "Nursery" if wait.type == "trio.Nursery" else "TaskGroup"
    names_class = frame.qualname is not None and not frame.qualname.startswith("_")
    if not names_class and wait is not None and wait.kind in _METHODS and wait.type:
        return f"{wait.type.rpartition('.')[2]}.{frame.function}"
    return _short(frame.name)


def _short(qualname: str) -> str:
    return qualname.rpartition("<locals>.")[2]


def _time_left(seconds: Sequence[float]) -> str:
    first, last = seconds[0], seconds[-1]
    if last <= 0:
        return "time is up"
    if f"{first:.1f}" == f"{last:.1f}":
        return f"{last:.1f} s left"
    return f"{max(first, 0.0):.1f} to {last:.1f} s left"
