"""Which waiting threads are idle: they wait for work, so nothing would be faster if they waited less.

Idle are the workers of a pool without work, an event loop without events, and threads of libraries that
wait for their next task. A lock, a sleep or a read that the user's code waits for is never idle.
"""

from __future__ import annotations

from collections.abc import Sequence

from .libraries import is_library, package_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, TypeAlias

    from .waits import WaitKind
else:
    from .named_tuple import NamedTuple

#: Somebody else has to release these: a thread that waits for one is blocked, not idle.
BLOCKING_KINDS: tuple[WaitKind, ...] = ("lock", "mutex", "import_lock")


class Place(NamedTuple):
    """A Python frame, as far as idleness needs it."""

    function: str  # with or without its qualified name
    file: str

    @property
    def name(self) -> str:
        return self.function.rpartition(".")[2]


_Sites: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]

# The end of a file, and functions in it. From the sources of CPython 3.6 to 3.15 and of the packages.
# They wait for work themselves, in C code, and call no other C code that waits.
_WORK_WAITS: _Sites = (
    ("/concurrent/futures/thread.py", ("_worker",)),
    ("/multiprocessing/pool.py", ("_handle_tasks", "_handle_results")),
    ("/trio/_core/_io_epoll.py", ("get_events",)),
    ("/twisted/internet/epollreactor.py", ("doPoll",)),
    ("/gevent/hub.py", ("run",)),
    ("/eventlet/hubs/poll.py", ("do_poll",)),
    ("/gunicorn/arbiter.py", ("sleep",)),
    ("/gunicorn/workers/sync.py", ("wait",)),
    ("/asyncio/runners.py", ("run",)),  # uvloop, in C code
    ("/uvicorn/_compat.py", ("asyncio_run",)),
    ("/uvloop/__init__.py", ("run", "__asyncio_run")),
    ("/zmq/sugar/__init__.py", ("device",)),
)
# They wait for work in one of _WAITING_CALLS. Below them, other code waits for other things.
_WORK_LOOPS: _Sites = (
    *_WORK_WAITS[:2],
    ("/concurrent/futures/process.py", ("_process_worker", "wait_result_broken_or_wakeup")),
    ("/loky/process_executor.py", ("_process_worker", "wait_result_broken_or_wakeup")),
    ("/multiprocessing/pool.py", ("worker", "_wait_for_updates")),
    ("/multiprocessing/queues.py", ("_feed",)),
    ("/asyncio/base_events.py", ("_run_once",)),
    ("/socketserver.py", ("serve_forever",)),
    ("/gunicorn/workers/gthread.py", ("run", "wait_for_and_dispatch_events")),
)
_WAITING_CALLS: _Sites = (
    ("/selectors.py", ("select",)),
    ("/threading.py", ("wait", "wait_for")),
    ("/queue.py", ("get",)),
    ("/multiprocessing/queues.py", ("get",)),
    ("/multiprocessing/synchronize.py", ("__enter__",)),
    ("/multiprocessing/connection.py", ("recv", "recv_bytes", "_recv_bytes", "_recv", "wait")),
)
# Where the user's code did not call them, these wait for the next task of a library's own thread.
_LIBRARY_WAITS: _Sites = _WAITING_CALLS[1:3]
_LIBRARY_KINDS = (None, "condition", "event", "futex", "queue_item")
# What a package's own thread waits for between two rounds: nobody else gave it that to do.
_ROUND_KINDS = ("timer", "poll", "pipe")
_THREAD_START: _Sites = (("/threading.py", ("_bootstrap",)),)
_MOST_CALLS = 8


def is_idle(frames: Sequence[Place], kind: WaitKind | None) -> bool:
    """Whether a thread that does not run, and does not wait for the GIL, is idle.

    `frames`: its Python frames, the innermost first. `kind`: what it waits for; None if that is unknown.
    """
    if not frames or kind in BLOCKING_KINDS or kind == "gil":
        return False
    if kind == "work" or _is_at(frames[0], _WORK_WAITS):
        return True
    calls = 0
    while calls < min(_MOST_CALLS, len(frames) - 1) and _is_at(frames[calls], _WAITING_CALLS):
        calls += 1
    if calls and _is_at(frames[calls], _WORK_LOOPS):
        return True
    if kind in _ROUND_KINDS and _is_of_one_package(frames):
        return True
    is_next_task = kind == "queue_item" or _is_at(frames[0], _LIBRARY_WAITS)
    return (
        is_next_task and kind in _LIBRARY_KINDS and all(is_library(frame.file) for frame in frames)
    )


def _is_of_one_package(frames: Sequence[Place]) -> bool:
    """Whether it is a thread that a package started for itself. One that runs what others give it has frames of
    another package, or is a pool of the standard library."""
    if not _is_at(frames[-1], _THREAD_START):
        return False
    called = [frame.file for frame in frames if not frame.file.endswith("/threading.py")]
    packages = {package_of(file) for file in called if package_of(file) or not is_library(file)}
    first = package_of(called[-1]) if called else None
    return first is not None and packages == {first}


def _is_at(frame: Place, sites: _Sites) -> bool:
    name = frame.name
    return any(name in names and frame.file.endswith(file) for file, names in sites)
