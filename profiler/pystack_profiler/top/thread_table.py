"""The rows of processes and threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from pystack.render.escape import escape
from pystack.sampling import NO_INTERPRETER, SampleState

from ..naming import process_name
from ..profile import Profile
from ..view import was_measured
from ..wait_words import reason_of_frame
from .model import Gil, ProcessRow, State, ThreadRow
from .ordering import SteadyOrder
from .places import LONGEST, Places
from .selection import Selection, ThreadKey, ThreadMeasure
from .slices import SliceLog
from .thread_times import LastSample, ThreadTimes

_MOST_THREADS = 300  # per process
_UNSEEN_NS = 2_000_000_000
_NAME_CHARS = 60

Rows = Mapping[ThreadKey, ThreadRow]


class ThreadTable:
    def __init__(
        self, log: SliceLog, times: ThreadTimes, places: Places, root: int, rate_hz: float
    ) -> None:
        """`root` is the ID of the process that was asked for."""
        self._log = log
        self._grouping = log.grouping
        self._times = times
        self._places = places
        self._root = root
        self._tick_ns = 1e9 / rate_hz if rate_hz else 0.0
        self._orders: dict[int, SteadyOrder[ThreadKey]] = {}  # by process
        self._ordered_by = ""

    def rows(self) -> dict[ThreadKey, ThreadRow]:
        return {key: self._row(key, last) for key, last in self._times.last.items()}

    def processes(
        self, rows: Rows, profiles: Mapping[int, Profile], selection: Selection
    ) -> tuple[ProcessRow, ...]:
        """The root first, and all others of which threads are known."""
        if selection.threads_by != self._ordered_by:
            self._orders, self._ordered_by = {}, selection.threads_by
        threads: dict[int, list[ThreadRow]] = {pid: [] for pid in profiles}
        for key, row in rows.items():
            threads[key.pid].append(row)
        pids = [pid for pid, own in threads.items() if own or pid == self._root]
        pids.sort(key=lambda pid: (pid != self._root, pid))
        return tuple(
            self._process(profiles[pid], self._in_order(selection, pid, threads[pid]))
            for pid in pids
        )

    def gil(self, rows: Rows, looked_at: ThreadKey | None) -> Gil | None:
        """Of the process of the thread that is looked at, else of the root."""
        pids = {key.pid for key in rows}
        pid = looked_at.pid if looked_at is not None else self._root
        if pid not in pids:
            pid = min(pids, default=pid)
        own = [row for key, row in rows.items() if key.pid == pid and row.gil is not None]
        if not own:
            return None
        own.sort(key=lambda row: row.key)
        return Gil(
            pid=pid,
            holders=tuple(who(row) for row in own if row.holds_gil),
            waiters=tuple(who(row) for row in own if row.state == "gil" and self._is_now(row.key)),
            held=sum(row.gil or 0.0 for row in own),
            waited=sum(row.gil_wait or 0.0 for row in own),
        )

    def _row(self, key: ThreadKey, last: LastSample) -> ThreadRow:
        identity = last.track.identity
        unseen_ns = self._times.unseen_ns(key)
        cpu_known = was_measured("cpu", last.states)
        gil_known = was_measured("gil", last.states)
        return ThreadRow(
            key=key,
            tid=identity.tid,
            name=escape(identity.name[:_NAME_CHARS]),
            is_python=identity.interpreter_id != NO_INTERPRETER,
            state=self._state(last) if unseen_ns < _UNSEEN_NS else "unseen",
            unseen_s=unseen_ns / 1e9,
            cpu=self._times.share(key, "cpu") if cpu_known else None,
            holds_gil=self._is_now(key) and bool(last.run.state & SampleState.HOLDS_GIL),
            gil=self._times.share(key, "held") if gil_known else None,
            gil_wait=self._times.share(key, "waited") if gil_known else None,
            doing=self._doing(last),
        )

    def _state(self, last: LastSample) -> State:
        state = _state(last.run.state)
        is_idle = state == "waiting" and self._log.is_idle(last.profile, last.run)
        return "idle" if is_idle else state

    def _is_now(self, key: ThreadKey) -> bool:
        """Whether the thread has a sample of the last tick."""
        return self._times.unseen_ns(key) < 1.5 * self._tick_ns

    def _doing(self, last: LastSample) -> str:
        tables = last.profile.tables
        wait = self._grouping.label_of_wait(last.profile, last.run.wait)
        reason = "" if wait is None else reason_of_frame(wait.function)[:LONGEST]
        if not last.run.stack:
            return reason
        row = tables.stack_frame[last.run.stack]
        label = self._grouping.label_of(last.profile, row)
        self._places.know([label])
        line = tables.frame_line[row]
        place = self._places.of(label, line if line > 0 else None)
        function = f"{self._places.name(label)} {place}".rstrip()
        return f"{reason}, in {function}" if reason else function

    def _process(self, profile: Profile, threads: list[ThreadRow]) -> ProcessRow:
        process = profile.process
        shares = [row.cpu for row in threads if row.cpu is not None]
        return ProcessRow(
            pid=process.pid,
            title=process_name(process.command),
            python_version=escape(process.python_version),
            cpu=sum(shares) if shares else None,
            ended=_ended(profile),
            threads=tuple(threads[:_MOST_THREADS]),
            more_threads=max(0, len(threads) - _MOST_THREADS),
        )

    def _in_order(self, selection: Selection, pid: int, rows: list[ThreadRow]) -> list[ThreadRow]:
        rows.sort(key=lambda row: (row.tid != pid, row.tid, row.key))
        by = selection.threads_by
        if by == "name":
            rows.sort(key=lambda row: row.name)
        elif by in get_args(ThreadMeasure):
            measures = {row.key: _measure(row, by) for row in rows}
            of_key = {row.key: row for row in rows}
            order = self._orders.setdefault(pid, SteadyOrder()).update(measures)
            rows = [of_key[key] for key in order]
        return rows


def who(row: ThreadRow) -> str:
    return f"{row.name} {row.tid}" if row.name else str(row.tid)


def _measure(row: ThreadRow, by: str) -> float:
    measured = {"cpu": row.cpu, "gil": row.gil, "gil wait": row.gil_wait}
    return measured[by] or 0.0


def _state(state: int) -> State:
    if state & SampleState.GC:
        return "gc"
    if state & SampleState.WAITS_FOR_GIL:
        return "gil"
    if not state & SampleState.CPU_KNOWN:
        return "unknown"
    return "running" if state & SampleState.ON_CPU else "waiting"


def _ended(profile: Profile) -> str | None:
    process = profile.process
    if process.end_reason == "running":
        return None
    if process.end_reason == "failed":
        return f"reading failed: {escape(process.error or 'unknown reason')}"
    return "exited" if process.end_reason == "target_exited" else "not sampled any more"
