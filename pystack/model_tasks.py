"""Tasks of asyncio and trio, greenlets, and event loops. Part of `pystack.model`, which has all public names."""

from __future__ import annotations

from pystack.model_frames import Frame, frames_from_raw, frames_to_json
from pystack.model_progress import Unmoved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from pystack._core import RawTask, RawTaskWait
    from pystack.literals import TaskLibrary, TaskState, TaskWaitKind
else:
    from pystack.named_tuple import NamedTuple


class EventLoop(NamedTuple):
    """The event loop of asyncio, or the `Runner` of trio, that is running in a thread."""

    #: Its address, which `id()` returns in the target.
    id: int
    #: Its class with the module, such as "uvloop.Loop" or "trio._core._run.Runner".
    type: str | None
    #: `Task.id` of the task that is running; None if the loop is between tasks.
    running_task: int | None
    #: Seconds since asyncio's loop came back from waiting for events; it has been calling callbacks
    #: since then. None if it is waiting, or is not asyncio's own, and in cores.
    busy_s: float | None


class TaskWait(NamedTuple):
    """What a task waits for, as far as it is proved."""

    #: "other" is an awaitable that is none of the others.
    kind: TaskWaitKind
    #: The address of the object that is waited for; None if there is no single one.
    id: int | None
    #: Its class with the module, such as "asyncio.locks.Semaphore".
    type: str | None
    #: `Task.id` of the tasks that are suspended inside an `async with` of the object. Others may hold it.
    #: Of trio: those that own the lock or have tokens of the limiter.
    holders: tuple[int, ...]
    #: Seconds until a sleep ends, when the process was read; negative if it is over. None in cores.
    remaining_s: float | None
    #: Whether a timeout may end it: it is inside `wait_for()`, or a with block that is a timeout or may have one
    #: inside. False of waits that end by themselves, or by events.
    may_time_out: bool
    #: The ID of a child process.
    pid: int | None
    #: Whom a stream is connected to, as its transport has it: "10.0.0.5:5432", "[::1]:80", a path.
    target: str | None

    @classmethod
    def from_raw(cls, raw: RawTaskWait) -> TaskWait:
        """Converts from the mapping of the C++ core."""
        fields: dict[str, Any] = dict(raw)
        fields["holders"] = tuple(raw["holders"])
        return cls(**fields)


class Task(NamedTuple):
    """One task of asyncio or trio that is not done, or a suspended greenlet (of gevent, eventlet and others)."""

    library: TaskLibrary
    #: Its address, which `id()` returns in the target.
    id: int
    interpreter_id: int
    #: `Task.get_name()`, or `Task.name` of trio; None below Python 3.8, where asyncio's tasks have no names.
    #: Of a greenlet: its class with the module, or "main greenlet".
    name: str | None
    #: "created": the first step has not begun. "ready": the event loop will run it next. None if unknown,
    #: as of greenlets.
    state: TaskState | None
    #: `EventLoop.id` of its loop, which may not be running, or of its runner.
    loop: int | None
    #: Of a greenlet: `Thread.python_thread_id` of the thread that it belongs to; else None.
    python_thread_id: int | None
    #: None if it does not wait, or the reason is unknown.
    waits_for: TaskWait | None
    #: `Task.id` of the tasks that await it. Of trio: of the task whose nursery it is in.
    awaited_by: tuple[int, ...]
    #: Why frames may be missing.
    problem: str | None
    #: The coroutines and generators that await each other, outermost first. Of a greenlet and of a running task: its calls,
    #: whose variables its thread has. If variables were requested, those of at most 200 tasks were read.
    frames: tuple[Frame, ...]
    #: None if it moved since the dump before, or there was none to compare with.
    unmoved: Unmoved | None = None

    @classmethod
    def from_raw(cls, raw: RawTask, frames: tuple[Frame, ...]) -> Task:
        """Converts from the mapping of the C++ core; `frames` are its converted frames."""
        fields: dict[str, Any] = dict(raw)
        wait = raw["waits_for"]
        if wait is not None:
            fields["waits_for"] = TaskWait.from_raw(wait)
        fields["awaited_by"] = tuple(raw["awaited_by"])
        fields["frames"] = frames
        return cls(**fields)


def tasks_from_raw(raws: list[RawTask]) -> tuple[Task, ...]:
    """Converts each distinct list of frames once: thousands of tasks can be at the same place."""
    made: dict[int, tuple[Any, ...]] = {}
    tasks = []
    for raw in raws:
        frames = raw["frames"]
        if id(frames) not in made:
            made[id(frames)] = frames_from_raw(frames)
        tasks.append(Task.from_raw(raw, made[id(frames)]))
    return tuple(tasks)


def tasks_to_json(tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
    """The inverse of `tasks_from_raw`."""
    made: dict[int, list[dict[str, Any]]] = {}
    items = []
    for task in tasks:
        if id(task.frames) not in made:
            made[id(task.frames)] = frames_to_json(task.frames)
        item = task._asdict()
        if task.waits_for is not None:
            item["waits_for"] = task.waits_for._asdict()
        item["unmoved"] = None if task.unmoved is None else task.unmoved._asdict()
        item["frames"] = made[id(task.frames)]
        items.append(item)
    return items
