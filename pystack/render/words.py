"""Short phrases that several parts of a dump share."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pystack.model import Snapshot, Task, Thread
from pystack.render.escape import escape

RUN_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "in uninterruptible sleep",
    "T": "stopped",
    "t": "stopped by a tracer",
    "Z": "exited",
    "X": "exited",
    "I": "idle",
}


def run_state(letter: str) -> str:
    """The kernel's letter for the state of a thread, in words."""
    return RUN_STATES.get(letter, f"state {escape(letter)}")


def interpreter_title(snapshot: Snapshot) -> str:
    """`CPython 3.13.5 (free-threaded)`."""
    if not snapshot.version:
        return "no Python"
    flavour = ["free-threaded"] if snapshot.free_threaded else []
    if snapshot.debug:
        flavour.append("debug")
    return f"CPython {escape(snapshot.version)}" + (f" ({', '.join(flavour)})" if flavour else "")


def task_count(tasks: Sequence[Task]) -> str:
    """`178 asyncio tasks`; of several libraries, `5 tasks of asyncio and trio, 8 greenlets`."""
    greenlets = sum(task.library == "greenlet" for task in tasks)
    libraries = sorted({task.library for task in tasks} - {"greenlet"})
    words = []
    if len(libraries) == 1:
        words.append(count(len(tasks) - greenlets, f"{libraries[0]} task"))
    elif libraries:
        words.append(f"{count(len(tasks) - greenlets, 'task')} of {' and '.join(libraries)}")
    if greenlets:
        words.append(count(greenlets, "greenlet"))
    return ", ".join(words)


def thread_name(thread: Thread) -> str | None:
    """The thread's name in Python, or the kernel's if it has none."""
    return thread.kernel_name if thread.name is None else thread.name


def short_name(thread: Thread) -> str:
    """`5828 "pay-2"`."""
    words = [] if thread.tid is None else [str(thread.tid)]
    name = thread_name(thread)
    if name is not None:
        words.append(f'"{escape(name)}"')
    return " ".join(words) or "another thread"


def base_name(path: str) -> str:
    """Like os.path.basename, without the import."""
    return path.rpartition("/")[2]


def build_id_text(build_id: str | None) -> str:
    """`build ID 1b2f...`; None: nobody knows it, "": there is none."""
    if build_id is None:
        return "an unknown build ID"
    return f"build ID {escape(build_id)}" if build_id else "no build ID"


def with_namespace(number: int, inner: int | None) -> str:
    """An ID as seen here and, if it differs, as seen inside the container."""
    return str(number) if inner is None else f"{number} ({inner} in its namespace)"


def count(number: int, noun: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(ns: int) -> str:
    """Nanoseconds in a suitable unit."""
    if ns < 100_000:
        return f"{ns / 1000:.0f} us"
    if ns < 10_000_000:
        return f"{ns / 1_000_000:.1f} ms"
    if ns < 1_000_000_000:
        return f"{ns / 1_000_000:.0f} ms"
    return f"{ns / 1_000_000_000:.1f} s"


def local_time(time_ns: int) -> str:
    """Formats nanoseconds since 1970; the value is not trusted."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(time_ns // 1_000_000_000))
    except (OverflowError, ValueError, OSError):
        return f"{time_ns / 1e9:.0f} seconds after 1970"
