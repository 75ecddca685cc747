"""Records a process and all that come from it: one sampler for each that is Python.

Other threads work beside the one that receives the samples: one finds processes, one looks after
them, and some find the interpreters in them. That can take long in a process that is just coming
up, and others must not wait for it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from queue import Empty, SimpleQueue

from pystack.errors import (
    NoSuchProcess,
    PermissionDenied,
    PystackError,
    TargetExited,
    VersionUnsupported,
)

from .process_tree import ProcessTree
from .recording import ProcessRecorder, Sampler

#: Between two looks for new processes. Together with `_SETTLES_IN_S` well below 50 ms.
LOOK_EVERY_S = 0.015

#: A child that still is what its parent is may be about to execute something else, and what was just
#: executed has no interpreter yet. To look for one too early costs more than to wait.
_SETTLES_IN_S = 0.025

#: Whether a process executes another program is looked at that often.
_WATCH_EVERY_S = 0.02
_WATCH_RECORDED_EVERY_S = 0.2

#: A process that is not Python is asked again, less and less often; at once if it executes another
#: program. What is called Python is asked more often at first: it is coming up.
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 30.0
_COMES_UP_IN_S = 1.0

_OPENERS = 4

#: No retry helps with these before the process executes another program.
_FINAL = (PermissionDenied, VersionUnsupported)

#: Nor is there any use in waiting for the root's children with these.
_FATAL = (NoSuchProcess, PermissionDenied, TargetExited)


@dataclass(slots=True)
class _Member:
    """A process of the tree."""

    pid: int
    number: int  # how many were found before it
    program: str | None  # what it executes, as far as that can be read
    since_s: float
    try_at_s: float
    look_at_s: float
    pause_s: float = _FIRST_PAUSE_S
    is_tried: bool = False  # at this moment
    recorder: ProcessRecorder | None = None
    was_python: bool = False
    error: PystackError | None = None  # of the last try to find Python in it


class ProcessFamily:
    """The targets of a recording with `--subprocesses`."""

    def __init__(self, root: int, open_sampler: Callable[[int], Sampler]) -> None:
        """Raises the `PystackError` of the root if it cannot be read; it need not be Python."""
        self._recorded: list[tuple[int, ProcessRecorder]] = []  # with the number of the process
        self._open_sampler = open_sampler
        self._tree = ProcessTree(root)
        self._members: dict[int, _Member] = {}
        self._found_count = 1
        self._others = 0  # processes that ended, and never were Python
        self._found: SimpleQueue[int] = SimpleQueue()
        self._closing = threading.Event()
        self._root_ended = False
        now_s = time.monotonic()
        self._root = _Member(root, 0, None, now_s, now_s, now_s)
        self._members[root] = self._root
        self._try(self._root)
        if isinstance(self._root.error, _FATAL):
            raise self._root.error
        with suppress(OSError):
            self._root.program = _program(root)
        self._openers = ThreadPoolExecutor(_OPENERS, "pystack-opener")
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._find, self._look_after_all)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def recorders(self) -> list[ProcessRecorder]:
        """More and more while it goes on: of the root, then of others in the order they were found.

        Their interpreters are not found in that order, and a file begins with the root.
        """
        return [recorder for _, recorder in sorted(self._recorded, key=itemgetter(0))]

    def have_ended(self) -> bool:
        """The root has: what it left behind may run for ever."""
        return self._root_ended

    @property
    def other_processes(self) -> int:
        """How many processes of the tree never were Python."""
        members = list(self._members.values())
        return self._others + sum(not member.was_python for member in members)

    @property
    def root_error(self) -> PystackError | None:
        """Why the root is not recorded, where it is not."""
        return None if self._root.was_python else self._root.error

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._openers.shutdown(cancel_futures=True)

    def _find(self) -> None:
        while True:
            for pid in self._tree.look():
                self._found.put(pid)
            if self._closing.wait(LOOK_EVERY_S):
                return

    def _look_after_all(self) -> None:
        while not self._closing.is_set():
            now_s = time.monotonic()
            due_s = min((member.look_at_s for member in self._members.values()), default=now_s + 1)
            try:
                self._add(self._found.get(timeout=min(max(due_s - now_s, 0.001), _WATCH_EVERY_S)))
                continue  # All that were found are known before any is looked into.
            except Empty:
                pass
            now_s = time.monotonic()
            for member in list(self._members.values()):
                if member.look_at_s <= now_s and not self._closing.is_set():
                    self._look_after(member)

    def _add(self, pid: int) -> None:
        now_s = time.monotonic()
        due_s = now_s + _SETTLES_IN_S
        with suppress(OSError):
            self._members[pid] = _Member(pid, self._found_count, _program(pid), now_s, due_s, due_s)
            self._found_count += 1

    def _look_after(self, member: _Member) -> None:
        try:
            program = _program(member.pid)
        except OSError:
            self._remove(member)
            return
        now_s = time.monotonic()
        if program != member.program:
            member.program = program
            member.pause_s = _FIRST_PAUSE_S
            member.since_s, member.try_at_s = now_s, now_s + _SETTLES_IN_S
            if member.recorder is not None:
                # Another program now. If it is Python as well, it gets a profile of its own.
                member.recorder.stop()
                member.recorder = None
        if member.recorder is None and not member.is_tried and now_s >= member.try_at_s:
            member.is_tried = True
            self._openers.submit(self._try, member)
        watched = _WATCH_EVERY_S if member.recorder is None else _WATCH_RECORDED_EVERY_S
        member.look_at_s = now_s + watched

    def _try(self, member: _Member) -> None:
        begin_s = time.monotonic()
        try:
            sampler = self._open_sampler(member.pid)
            recorder = ProcessRecorder(sampler, member.pid, only_own_threads=True)
        except PystackError as error:
            member.error = error
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
        self._others += not member.was_python
        if member is self._root:
            self._root_ended = True


def _program(pid: int) -> str | None:
    """What a process executes; None: we may not know. Raises OSError if it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")  # noqa: PTH115 (often)
    except PermissionError:
        return None
