"""Makes frames of a recording that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from pystack import process_facts
from pystack.render.escape import escape

from ..counts import add_stats, no_stats
from ..naming import process_name
from ..profile import Profile, Recording
from ..stats import achieved_rate_hz, coverage, losses, not_sampled_ns, plural
from ..view import was_measured
from .function_table import FunctionTable
from .model import Frame, Quality
from .places import Places
from .selection import Selection, ThreadKey
from .slices import SliceLog
from .stacks import RawStack, StackSources, raw_stack
from .thread_table import Rows, ThreadTable, who
from .thread_times import ThreadTimes

_RECENT_S = 10.0  # what the quality of the samples is said about
_BUSIER = 0.1  # of the time; by so much another thread must be busier to be shown instead


class LiveView:
    """Turns what a `SliceLog` receives into frames. Only one thread may use it."""

    def __init__(self, log: SliceLog, recording: Recording) -> None:
        self._log = log
        self._recording = recording
        self._places = Places()
        self._sources = StackSources()
        self._sources.know(recording.pid)
        self._times = ThreadTimes(log.grouping)
        self._threads = ThreadTable(
            log, self._times, self._places, recording.pid, recording.rate_hz
        )
        self._functions = FunctionTable(log, self._places)
        self._profiles: dict[int, Profile] = {}
        self._stats = no_stats()  # since the begin
        self._cpu_ns = time.process_time_ns()
        self._busiest_before: ThreadKey | None = None

    @property
    def records_native(self) -> bool:
        return self._recording.native

    def look(self, selection: Selection) -> Frame:
        """What was recorded until now. Call it about once per second."""
        with self._log.held():
            self._update(selection)
            rows = self._threads.rows()
            functions, more = self._functions.rows(selection, self._times.elapsed_ns.get(None))
            title, raw = self._raw_stack(selection, rows)
        # Not while it is held: the files of the target may be slow to read.
        stack = None if raw is None else self._sources.stack(title, raw, self._places)
        recording = self._recording
        states = 0
        for last in self._times.last.values():
            states |= last.states
        looked_at = selection.stack_of if isinstance(selection.stack_of, ThreadKey) else None
        return Frame(
            title=self._title(),
            elapsed_s=((recording.ended_ns or time.monotonic_ns()) - recording.began_ns) / 1e9,
            mode=selection.mode,
            mode_is_known=not rows or was_measured(selection.mode, states),
            idle=selection.idle,
            of_thread=_chosen(selection, rows),
            native=_native(selection, recording),
            gil=self._threads.gil(rows, looked_at),
            runnable=sum(self._times.share(key, "runnable") for key in rows),
            gc=sum(self._times.share(key, "gc") for key in rows),
            native_cpu=self._native_cpu(rows),
            quality=self._quality(),
            processes=self._threads.processes(rows, self._profiles, selection),
            functions=functions,
            more_functions=more,
            stack=stack,
            notes=tuple(self._notes(rows)),
        )

    def _title(self) -> str:
        """`app.py (pid 4711, CPython 3.13.5)`."""
        pid = self._recording.pid
        root = self._profiles.get(pid)
        version = "" if root is None else f", CPython {escape(root.process.python_version)}"
        return f"{process_name(self._recording.command)} (pid {pid}{version})"

    def _update(self, selection: Selection) -> None:
        cpu_ns = time.process_time_ns()
        new = self._log.cut(cpu_ns - self._cpu_ns)
        if new is not None:
            self._cpu_ns = cpu_ns
            self._times.add(new)
            for profile, window in new.windows.items():
                self._profiles[profile.process.pid] = profile
                self._sources.know(profile.process.pid)
                add_stats(self._stats, window.stats)
        self._functions.update(new, selection)

    def _raw_stack(self, selection: Selection, rows: Rows) -> tuple[str, RawStack | None]:
        grouping = self._log.grouping
        chosen = selection.stack_of
        if isinstance(chosen, int):
            example = self._functions.example_of(chosen)
            if example is not None:
                title = f"a recent stack with {self._places.name(grouping.frames[chosen])}"
                return title, self._raw(example.profile, example.stack, example.wait, selection)
            chosen = None
        if chosen not in rows:
            chosen = self._busiest_before = self._busiest(rows)
        if chosen is None:
            return "", None
        last = self._times.last[chosen]
        title = f"last stack of {who(rows[chosen])}"
        return title, self._raw(last.profile, last.run.stack, last.run.wait, selection)

    def _raw(self, profile: Profile, stack: int, wait: int, selection: Selection) -> RawStack:
        raw = raw_stack(self._log.grouping, profile, stack, wait, native=selection.native)
        self._places.know(label for label, _, _ in raw.frames)
        return raw

    def _busiest(self, rows: Rows) -> ThreadKey | None:
        """The one before, unless another one is clearly busier."""

        def activity(key: ThreadKey) -> float:
            return max(rows[key].cpu or 0.0, rows[key].gil or 0.0)

        before = self._busiest_before
        busiest = max(rows, key=activity, default=None)
        if busiest is None or before not in rows or before is None:
            return busiest
        return busiest if activity(busiest) > activity(before) + _BUSIER else before

    def _native_cpu(self, rows: Rows) -> float | None:
        cpu = sum(self._times.share(key, "cpu") for key in rows)
        if not self._recording.native or not cpu:
            return None
        return sum(self._times.share(key, "native") for key in rows) / cpu

    def _quality(self) -> Quality:
        stats = no_stats()
        elapsed_ns = tool_ns = 0
        for one in reversed(self._log.history):
            if elapsed_ns >= _RECENT_S * 1e9:
                break
            elapsed_ns += one.elapsed_ns
            tool_ns += one.tool_cpu_ns
            for window in one.windows.values():
                add_stats(stats, window.stats)
        sampled_ns = stats["elapsed_ns"]  # of all processes
        return Quality(
            rate_hz=achieved_rate_hz(stats),
            asked_hz=self._recording.rate_hz,
            coverage=coverage(stats),
            losses=losses(self._stats),
            not_sampled=not_sampled_ns(stats) / sampled_ns if sampled_ns else 0.0,
            tool_cpu=tool_ns / elapsed_ns if elapsed_ns else None,
            sampling_cpu=stats["cpu_ns"] / elapsed_ns if elapsed_ns else 0.0,
        )

    def _notes(self, rows: Rows) -> Iterator[str]:
        recording = self._recording
        if not rows:
            yield "no samples yet"
        if recording.end_reason == "target_exited":
            yield "the process has exited"
        elif process_facts.thread_state(recording.pid, recording.pid) == "T":
            yield "the process is stopped (for example by SIGSTOP): until it goes on, all of its threads wait"
        if recording.left_out_processes:
            left_out = plural(recording.left_out_processes, "process", "es")
            yield f"not recorded because of the limit (--max-processes): {left_out}"
        if recording.other_processes:
            yield f"not Python: {plural(recording.other_processes, 'more process', 'es')}"
        if self._stats["partly_merged"]:
            yield f"native frames missing in {plural(self._stats['partly_merged'], 'sample')}"


def _chosen(selection: Selection, rows: Rows) -> str | None:
    if selection.of_thread is None:
        return None
    row = rows.get(selection.of_thread)
    return "a thread that has ended" if row is None else who(row)


def _native(
    selection: Selection, recording: Recording
) -> Literal["shown", "hidden", "not recorded"]:
    if not recording.native:
        return "not recorded"
    return "shown" if selection.native else "hidden"
