"""Which threads and tasks moved between several dumps of one process (`pystack dump --watch`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple

from pystack.model_progress import Unmoved, Watched
from pystack.process_facts import thread_run_time_ns, thread_state

if TYPE_CHECKING:
    from pystack.model import Snapshot, Task, Thread
    from pystack.model_frames import AnyFrame


#: The letters of threads that are blocked.
_ASLEEP = ("S", "D")
_SETTLE_S = 0.05


class _Place(NamedTuple):
    """Where something was found, and since when."""

    what: Hashable
    since_ns: int
    dumps: int
    cpu_ns: int | None


class ProgressWatch:
    """Dumps a process several times and compares."""

    def __init__(
        self,
        dump: Callable[[], Snapshot],
        run_time_ns: Callable[[int, int], int | None] = thread_run_time_ns,
        run_state: Callable[[int, int], str] = thread_state,
    ) -> None:
        """`dump` makes one dump. `run_time_ns` says how long the thread (pid, tid) has run so far."""
        self._dump = dump
        self._run_time_ns = run_time_ns
        self._run_state = run_state
        self._began_ns = 0
        self._dumps = 0
        self._places: dict[Hashable, _Place] = {}
        #: Run times after the last dump, by thread ID.
        self._ran_ns: dict[int, int | None] = {}
        self._pid = 0

    def look(self) -> Snapshot:
        """Dumps. Says of each thread and task since when it has not moved. Raises what `dump` raises.

        A stop interrupts the system calls that threads are blocked in, and these need a few microseconds to
        get back into them. That is not their work: this waits for them, up to 50 ms.
        """
        ran = {
            tid: None if before is None or now is None else now - before
            for tid, before in self._ran_ns.items()
            for now in [self._run_time_ns(self._pid, tid)]
        }
        snapshot = self._dump()
        self._pid = snapshot.pid
        self._dumps += 1
        if self._dumps == 1:
            self._began_ns = snapshot.time_ns
        places = self._places
        self._places = {}
        threads: list[Thread] = []
        tasks: list[Task] = []
        key: tuple[object, ...]
        for thread in snapshot.threads:
            key = ("thread", thread.tid, thread.python_thread_id, thread.interpreter_id)
            cpu_ns = ran.get(thread.tid) if thread.tid is not None else None
            place = self._compare(places.get(key), _thread_place(thread), snapshot.time_ns, cpu_ns)
            threads.append(thread._replace(unmoved=self._keep(key, place, snapshot.time_ns)))
        for task in snapshot.tasks or ():
            key = ("task", task.interpreter_id, task.id, task.name)
            place = self._compare(places.get(key), _task_place(task), snapshot.time_ns, None)
            tasks.append(task._replace(unmoved=self._keep(key, place, snapshot.time_ns)))
        if snapshot.stopped:
            self._wait_for_sleepers(snapshot)
        self._ran_ns = {
            thread.tid: self._run_time_ns(self._pid, thread.tid)
            for thread in snapshot.threads
            if thread.tid is not None
        }
        return snapshot._replace(
            threads=tuple(threads),
            tasks=None if snapshot.tasks is None else tuple(tasks),
            watched=Watched(self._dumps, snapshot.time_ns - self._began_ns),
        )

    def _wait_for_sleepers(self, snapshot: Snapshot) -> None:
        sleepers = [thread.tid for thread in snapshot.threads if thread.run_state in _ASLEEP]
        until = time.monotonic() + _SETTLE_S
        for tid in sleepers:
            while tid is not None and self._run_state(self._pid, tid) not in _ASLEEP:
                if time.monotonic() > until:
                    return
                time.sleep(0.001)

    @staticmethod
    def _compare(before: _Place | None, what: Hashable, now_ns: int, cpu_ns: int | None) -> _Place:
        if before is None or what is None or before.what != what:
            return _Place(what, now_ns, 1, 0)
        if before.cpu_ns is not None and cpu_ns is not None:
            cpu_ns += before.cpu_ns
        else:
            cpu_ns = None
        return before._replace(dumps=before.dumps + 1, cpu_ns=cpu_ns)

    def _keep(self, key: Hashable, place: _Place, now_ns: int) -> Unmoved | None:
        self._places[key] = place
        if place.dumps < 2:
            return None
        return Unmoved(place.dumps, now_ns - place.since_ns, place.cpu_ns)


def _thread_place(thread: Thread) -> Hashable:
    """None if it is not known where the thread is."""
    if thread.stack_end not in ("complete", "depth_limit", "no_python"):
        return None
    wait = thread.waits_for
    # What else a wait says need not be known each time, and other processes change it.
    what = wait and (wait.kind, wait.address, wait.fd, wait.target, wait.pid)
    return what, tuple(map(_frame_place, thread.frames))


def _task_place(task: Task) -> Hashable:
    if task.problem is not None or task.state == "running":
        return None
    wait = task.waits_for and task.waits_for._replace(remaining_s=None)
    return wait, tuple(map(_frame_place, task.frames))


def _frame_place(frame: AnyFrame) -> Hashable:
    if frame.kind == "python":
        return frame._replace(variables=None, variables_omitted=0, variables_problem=None)
    return frame
