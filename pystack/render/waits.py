"""What a thread waits for, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pystack.model import Snapshot, Thread
from pystack.render.escape import escape
from pystack.render.task_deadlocks import titled_task
from pystack.render.words import base_name, count, duration, short_name
from pystack.waits import Holder, Wait

_OBJECTS = {
    "condition": "on a {type}",
    "event": "for an {type} to be set",
    "semaphore": "for a {type}",
    "barrier": "at a {type}",
    "queue_item": "for an item of a {type}",
    "queue_space": "for space in a {type}",
    "queue_tasks": "for all tasks of a {type}",
    "future": "for the result of a {type}",
}
_FILES = {
    "socket": "for a socket",
    "pipe": "for a pipe",
    "terminal": "for a terminal",
    "file": "for a file",
    "descriptor": "for a file",
}
#: As many workers of a pool are named.
_MOST_WORKERS = 4
_PEER_WAITS = {
    "pipe": "a pipe whose other end only {} {}",
    "socket": "a unix socket whose other end only {} {}",
    "process": "{} to end",
}


class WaitText:
    """Makes the texts of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._pid = snapshot.pid
        self._threads = snapshot.threads
        self._deadlocks = snapshot.deadlocks
        self._tasks = {task.id: task for task in snapshot.tasks or ()}

    def text(self, thread: Thread, others: Sequence[Thread] = ()) -> str | None:
        """Of one thread, or of several that are shown as one. None: nothing is known, or it is the
        GIL.
        """
        wait = thread.waits_for
        if wait is None or wait.kind == "gil":
            return None
        same = all(_without_times(other.waits_for) == _without_times(wait) for other in others)
        same_times = all(other.waits_for == wait for other in others)
        parts = [f"waiting {self._what(wait, same)}" if wait.kind != "timer" else "in a sleep"]
        if same_times:
            parts += self._when(wait)
        # Of several threads, not each waits for itself.
        held = self._held_by(wait, None if others else thread) if same else None
        if held is not None:
            parts.append(held)
        elif same and wait.kind in ("lock", "mutex"):
            parts.append("holder unknown")
        if same and wait.peer_wait is not None:
            parts.append(f"which waits for {_peer_text(wait.peer_wait)}")
        if same and wait.kernel_function is not None:
            parts.append(f"at {escape(wait.kernel_function)} of the kernel")
        return ", ".join(parts)

    def deadlocks(self) -> Iterator[str]:
        """One sentence per circle."""
        for circle in self._deadlocks:
            threads = [self._threads[index] for index in circle]
            if all(_is_queued(thread.waits_for) for thread in threads):
                yield f"Deadlock: {_pool_text(threads)}."
                continue
            text = short_name(threads[0])
            for number, thread in enumerate(threads):
                wait = thread.waits_for
                if wait is None:
                    continue
                verb = " waits " if number == 0 else ", which waits "
                held = self._held_by(wait, thread)
                text += f"{verb}{self._what(wait, True)}{f' {held}' if held else ''}"
                if wait.peer_wait is not None:
                    text += f", which waits for {_peer_text(wait.peer_wait)}"
                else:
                    text += "".join(self._peers(wait))
            yield f"Deadlock: {text}."

    def _peers(self, wait: Wait) -> Iterator[str]:
        """Of a circle of more than two processes."""
        named = {wait.pid, *(end.pid for end in wait.other_ends)}
        for peer in wait.process_circle:
            name = str(peer.pid) if peer.pid in named else _process(peer.pid, peer.command)
            enders = ["this process" if pid == self._pid else str(pid) for pid in peer.enders]
            yield f"; {name} waits for {_peer_text(peer.kind, enders)}"

    def _what(self, wait: Wait, same: bool) -> str:
        name = f" ({escape(wait.name)})" if same and wait.name is not None else ""
        kind = base_name((wait.type or "").replace(".", "/"))
        if wait.type == "_multiprocessing.SemLock":
            return "for a semaphore of multiprocessing" + name
        if wait.kind in _OBJECTS:
            return _OBJECTS[wait.kind].format(type=escape(kind)) + name
        if wait.kind == "work":
            return "for work in a thread pool"
        if wait.kind == "lock":
            return ("for an RLock" if kind == "RLock" else "for a lock") + name
        if wait.kind == "mutex":
            return "for a pthread mutex"
        if wait.kind == "pthread_condition":
            return "on a pthread condition"
        if wait.kind == "thread":
            return f"for {self._thread(wait, same)} to end"
        if wait.kind == "import_lock":
            name = f" of {escape(wait.name)}" if same and wait.name is not None else ""
            return f"for the import{name}{self._importer(wait, same)}"
        if wait.kind in _FILES:
            return _file_text(wait, same) + (self._other_end(wait) if same else "")
        return _other_text(wait, same)

    def _thread(self, wait: Wait, same: bool) -> str:
        if not same:
            return "a thread"
        for holder in wait.holders:
            if holder.tid is not None:
                return f"thread {self._name(holder)}"
        return "a thread" if wait.name is None else f'thread "{escape(wait.name)}"'

    def _importer(self, wait: Wait, same: bool) -> str:
        return f" by {self._name(wait.holders[0])}" if same and wait.holders else ""

    def _held_by(self, wait: Wait, thread: Thread | None) -> str | None:
        if wait.pool_processes:
            pids = ", ".join(str(process.pid) for process in wait.pool_processes[:_MOST_WORKERS])
            rest = len(wait.pool_processes) - _MOST_WORKERS
            return f"in a process pool: {pids}" + (f" and {rest} more" if rest > 0 else "")
        if wait.kind not in ("lock", "mutex", "semaphore", "future") or not wait.holders:
            return None
        if _is_queued(wait):
            return f"in the queue of a pool of {count(len(wait.holders), 'thread')}"
        return " and ".join(self._holder(holder, thread) for holder in wait.holders)

    def _holder(self, holder: Holder, thread: Thread | None) -> str:
        itself = thread is not None and holder.tid is not None and holder.tid == thread.tid
        loop = "its own event loop" if itself else f"the event loop of {self._name(holder)}"
        if holder.proof == "event_loop":
            return f"from {loop}"
        who = "itself" if itself else self._name(holder)
        if holder.task is not None:
            task = self._tasks.get(holder.task)
            who = f"{'a task' if task is None else titled_task(task)} of {loop}"
        text = f"{'worked on' if holder.proof == 'worker' else 'held'} by {who}"
        if holder.proof == "with_block" and holder.file is not None:
            line = "" if holder.line is None else f":{holder.line}"
            text += f" in a with block at {escape(base_name(holder.file))}{line}"
        return text

    def _other_end(self, wait: Wait) -> str:
        others = [_process(end.pid, end.command) for end in wait.other_ends if end.pid != self._pid]
        if not wait.other_ends:
            return ""
        if not others:
            return ", whose other end only this process is seen to have"
        itself = ["this process"] if len(others) < len(wait.other_ends) else []
        return ", other end: " + ", ".join(others + itself)

    def _name(self, holder: Holder) -> str:
        for thread in self._threads:
            if thread.tid == holder.tid and thread.python_thread_id == holder.python_thread_id:
                return short_name(thread)
        if holder.tid is not None:
            return str(holder.tid)
        return "a thread that has ended"

    @staticmethod
    def _when(wait: Wait) -> Iterator[str]:
        if wait.left_ns is not None:
            yield f"{duration(max(wait.left_ns, 0))} left"
        elif wait.timeout_ns is not None:
            yield f"at most {duration(wait.timeout_ns)}"


def _is_queued(wait: Wait | None) -> bool:
    """Whether it is for a future that nobody works on yet."""
    return wait is not None and any(holder.proof == "pool" for holder in wait.holders)


def _pool_text(workers: Sequence[Thread]) -> str:
    names = ", ".join(short_name(thread) for thread in workers[:_MOST_WORKERS])
    if len(workers) > _MOST_WORKERS:
        names += f" and {len(workers) - _MOST_WORKERS} more"
    if len(workers) == 1:
        return f"the only worker of a thread pool, {names}, waits for a future in the queue of its own pool"
    return f"all {len(workers)} workers of a thread pool, {names}, wait for futures in the queue of their own pool"


def _without_times(wait: Wait | None) -> Wait | None:
    return wait and wait._replace(left_ns=None, timeout_ns=None)


def _file_text(wait: Wait, same: bool) -> str:
    text = _FILES[wait.kind]
    if same and wait.target is not None:
        # "unix socket /run/app.sock" is a noun already.
        noun = "for a" if wait.target.startswith("unix socket") else text
        text = f"{noun} {escape(wait.target)}"
    elif same and wait.fd is not None:
        text += f" (fd {wait.fd})"
    return text


def _other_text(wait: Wait, same: bool) -> str:
    if wait.kind == "poll":
        if wait.file_count is None:
            is_epoll = (wait.call or "").startswith("epoll")
            return "for events of an epoll set" if is_epoll else "for files"
        return f"for any of {count(wait.file_count, 'file')}" if same else "for files"
    if wait.kind == "process":
        return (
            f"for child {_process(wait.pid, wait.command)}"
            if same and wait.pid is not None
            else "for a child"
        )
    if wait.kind == "file_lock":
        target = f" of {escape(wait.target)}" if same and wait.target is not None else ""
        owner = (
            f", held by {_process(wait.pid, wait.command)}" if same and wait.pid is not None else ""
        )
        return f"for a file lock{target}{owner}"
    if wait.kind == "signal":
        return "for a signal"
    if wait.kind == "kernel":
        return "in the kernel"
    return "for a lock or condition that is unknown"


def _peer_text(kind: str, enders: Sequence[str] = ("this process",)) -> str:
    *first, last = enders
    names = f"{', '.join(first)} and {last}" if first else last
    return _PEER_WAITS[kind].format(names, "have" if first else "has")


def _process(pid: int, command: str | None) -> str:
    return f"{pid}" + (f" ({escape(command)})" if command else "")
