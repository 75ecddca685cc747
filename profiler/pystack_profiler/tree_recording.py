"""Records a process and its descendants, with one sampler per Python process.

Besides the thread that receives the samples, one thread finds processes, one watches them, and several
search for their interpreters. That search can be slow in a process that is starting up, and the other
processes must not wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from queue import Empty, SimpleQueue

from pystack.errors import (
    InvalidArgument,
    NoSuchProcess,
    NotPython,
    PermissionDenied,
    PystackError,
    TargetExited,
    VersionUnsupported,
)

from .dead_children import DeadChildren
from .fork_events import ForkEvents
from .process_recorder import ProcessRecorder, Sampler, program_of
from .process_tree import ProcessTree
from .settings import DEFAULT_MAX_PROCESSES

#: The interval between two scans for new processes. With `_SETTLES_IN_S` it is well below 50 ms.
LOOK_EVERY_S = 0.015

#: A new child may be about to execute another program, and a program that was just executed has no
#: interpreter yet. To search for one too early costs more than to wait.
_SETTLES_IN_S = 0.025
#: A fork of a process that is recorded has its interpreter, unless it executes another program.
_FORK_SETTLES_IN_S = 0.004
#: Children often come in numbers.
_LOOK_SOON_S, _SOON = 0.004, 50  # the interval, and how often after a new process

#: How often a process is checked for having executed another program.
_WATCH_EVERY_S = 0.02
_WATCH_RECORDED_EVERY_S = 0.2

#: A process without Python is searched again at growing intervals, and at once if it executes another
#: program. A program named python is searched more often at first, because it is starting up.
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 30.0
_COMES_UP_IN_S = 1.0

#: For all processes together: a target may start thousands of processes to hide the others.
_LOOKS_PER_S = 2000

_OPENERS = 4

#: With these errors, a retry helps only after the process executes another program.
_FINAL = (PermissionDenied, VersionUnsupported)

#: With these errors, waiting for the root's children does not help either.
_FATAL = (InvalidArgument, NoSuchProcess, PermissionDenied, TargetExited)


@dataclass(slots=True)
class _Member:
    """A process of the tree."""

    pid: int
    number: int  # how many processes were found before it
    program: str | None  # the program that it executes; None if it cannot be read
    since_s: float
    try_at_s: float
    look_at_s: float
    pause_s: float = _FIRST_PAUSE_S
    is_tried: bool = False  # a search for its interpreter is running
    was_tried: bool = False  # its current program was searched
    recorder: ProcessRecorder | None = None
    was_python: bool = False
    is_left_out: bool = False  # too many processes are recorded already
    error: PystackError | None = None  # of the last search for its interpreter


class ProcessFamily:
    """The targets of a recording that includes child processes."""

    def __init__(
        self,
        root: int,
        open_sampler: Callable[[int], Sampler],
        max_processes: int = DEFAULT_MAX_PROCESSES,
    ) -> None:
        """Raises the `PystackError` of the root if it cannot be read. The root need not be Python."""
        self._recorded: list[tuple[int, ProcessRecorder]] = []  # (number of the process, recorder)
        self._open_sampler = open_sampler
        self._tree = ProcessTree(root)
        self._members: dict[int, _Member] = {}
        self._found_count = 1
        self._others = 0  # processes that have ended and never were Python
        self._left_out = 0  # processes that have ended and were left out
        self._unseen = 0  # processes that ended before their interpreter was searched
        self._dead_children = DeadChildren(root)
        self._max_processes = max_processes
        self._counted_before = (0, 0, 0)  # others, left out and unseen, in the stretches before
        self._dead_before_ns = 0
        self._busy: set[int] = set()  # processes that are recorded, or searched for an interpreter
        self._found: SimpleQueue[int] = SimpleQueue()
        self._closing = threading.Event()
        self._root_ended = False
        now_s = time.monotonic()
        self._root = _Member(root, 0, None, now_s, now_s, now_s)
        self._members[root] = self._root
        self._try(self._root)
        if isinstance(self._root.error, _FATAL):
            raise self._root.error
        if self._root.recorder is not None:
            self._busy.add(root)
        with suppress(OSError):
            self._root.program = program_of(root)
        self._openers = ThreadPoolExecutor(_OPENERS, "pystack-opener")
        self._threads: list[threading.Thread] = []
        try:
            for work in (self._find, self._look_after_all):
                self._threads.append(threading.Thread(target=work, daemon=True))
                self._threads[-1].start()
        except BaseException:  # Ctrl-C, or no thread can be started.
            self._closing.set()
            raise

    @property
    def recorders(self) -> list[ProcessRecorder]:
        """The recorders so far, ordered by when their processes were found, the root first.

        The order matters because interpreters are not found in it, and a file begins with the root.
        """
        return [recorder for _, recorder in sorted(self._recorded, key=itemgetter(0))]

    def have_ended(self) -> bool:
        """Whether the root has ended. The processes that it leaves behind may run forever."""
        return self._root_ended

    @property
    def other_processes(self) -> int:
        """The number of processes of the tree that never were Python."""
        members = list(self._members.values())
        ended = self._others - self._counted_before[0]
        return ended + sum(_is_other(member) for member in members)

    @property
    def left_out_processes(self) -> int:
        """The number of processes that were left out because of the limit."""
        members = list(self._members.values())
        ended = self._left_out - self._counted_before[1]
        return ended + sum(member.is_left_out for member in members)

    @property
    def unseen_processes(self) -> int:
        """The number of processes that ended before it was known whether they are Python."""
        return self._unseen - self._counted_before[2]

    @property
    def dead_children_ns(self) -> int:
        """The CPU time of all descendants that have ended, recorded or not."""
        return self._dead_children.cpu_ns - self._dead_before_ns

    def begin_stretch(self, ended: Collection[ProcessRecorder]) -> None:
        """Counts processes from 0 again, and forgets these recorders."""
        # Other threads add to the counts and the list meanwhile.
        self._counted_before = (self._others, self._left_out, self._unseen)
        self._dead_before_ns = self._dead_children.cpu_ns
        for entry in list(self._recorded):
            if entry[1] in ended:
                self._recorded.remove(entry)

    @property
    def root_error(self) -> PystackError | None:
        """Why the root is not recorded; None if it is."""
        return None if self._root.was_python else self._root.error

    def close(self) -> None:
        self._dead_children.look()
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._openers.shutdown(cancel_futures=True)

    def _find(self) -> None:
        soon = 0
        events = ForkEvents()
        while not self._closing.is_set():
            new = self._tree.look()
            for pid in new:
                self._found.put(pid)
            soon = _SOON if new else max(0, soon - 1)
            events.wait(_LOOK_SOON_S if soon else LOOK_EVERY_S, self._tree.members)
        events.close()

    def _look_after_all(self) -> None:
        while not self._closing.is_set():
            now_s = time.monotonic()
            due_s = min((member.look_at_s for member in self._members.values()), default=now_s + 1)
            try:
                self._add(self._found.get(timeout=min(max(due_s - now_s, 0.001), _WATCH_EVERY_S)))
                continue  # Add all processes that were found before any is searched.
            except Empty:
                pass
            now_s = time.monotonic()
            for member in list(self._members.values()):
                if member.look_at_s <= now_s and not self._closing.is_set():
                    self._look_after(member)

    def _add(self, pid: int) -> None:
        now_s = time.monotonic()
        try:
            program = program_of(pid)
        except OSError:
            self._unseen += 1
            return
        # Of those that are recorded there are few, however many processes the target starts.
        busy = [self._members.get(one) for one in list(self._busy)]
        is_fork = any(one and one.recorder and one.program == program for one in busy)
        due_s = now_s + (_FORK_SETTLES_IN_S if is_fork else _SETTLES_IN_S)
        self._members[pid] = _Member(pid, self._found_count, program, now_s, due_s, due_s)
        self._found_count += 1

    def _look_after(self, member: _Member) -> None:
        if member is self._root:
            self._dead_children.look()
        try:
            program = program_of(member.pid)
        except OSError:
            self._remove(member)
            return
        now_s = time.monotonic()
        if program != member.program:
            member.program = program
            member.pause_s = _FIRST_PAUSE_S
            member.was_tried = False
            member.since_s, member.try_at_s = now_s, now_s + _SETTLES_IN_S
            if member.recorder is not None:
                # It executes another program. If that is Python, too, it gets its own profile.
                member.recorder.stop()
                member.recorder = None
                self._busy.discard(member.pid)
        if member.recorder is None and not member.is_tried and now_s >= member.try_at_s:
            has_room = len(self._busy) < self._max_processes
            member.is_left_out = not has_room and not member.was_tried
            if has_room:
                member.is_tried = member.was_tried = True
                self._busy.add(member.pid)
                self._openers.submit(self._try, member)
        watched = _WATCH_EVERY_S if member.recorder is None else _WATCH_RECORDED_EVERY_S
        member.look_at_s = now_s + max(watched, len(self._members) / _LOOKS_PER_S)

    def _try(self, member: _Member) -> None:
        begin_s = time.monotonic()
        try:
            sampler = self._open_sampler(member.pid)
            recorder = ProcessRecorder(sampler, member.pid, only_own_threads=True)
        except PystackError as error:
            member.error = error
            self._busy.discard(member.pid)
            self._postpone(member, error, time.monotonic() - begin_s)
        else:
            member.was_python = True
            member.recorder = recorder
            self._recorded.append((member.number, recorder))
        finally:
            member.is_tried = False

    def _postpone(self, member: _Member, error: PystackError, took_s: float) -> None:
        now_s = time.monotonic()
        if isinstance(error, _FINAL):
            pause_s = _LONGEST_PAUSE_S
        elif "python" in (member.program or "") and now_s < member.since_s + _COMES_UP_IN_S:
            pause_s = _FIRST_PAUSE_S
        else:
            pause_s = member.pause_s
            member.pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        member.try_at_s = now_s + max(pause_s, took_s)

    def _remove(self, member: _Member) -> None:
        del self._members[member.pid]
        self._tree.forget(member.pid)
        self._busy.discard(member.pid)
        self._others += _is_other(member)
        self._left_out += member.is_left_out
        self._unseen += _is_unknown(member)
        if member is self._root:
            self._root_ended = True


def _is_other(member: _Member) -> bool:
    return not (member.was_python or member.is_left_out or _is_unknown(member))


def _is_unknown(member: _Member) -> bool:
    """Whether nothing is known of it, because its interpreter was not searched before it ended."""
    return not (member.was_python or member.is_left_out or isinstance(member.error, NotPython))
