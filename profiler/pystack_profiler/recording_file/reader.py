"""Reads a recording from its file: the same objects as those of a recording that has just ended.

Whatever is in the file is checked before it is used, because it may be damaged or made by an enemy.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

from pystack.sampling import NO_INTERPRETER, STATS_MERGES

from ..counts import add_stats
from ..profile import EndReason, ProcessFacts, Profile, Recording
from ..track import ThreadIdentity
from ..window import Window
from .batches import SampleColumns, batch_of_samples
from .opening import opened
from .schema import BadRecordingFile, has_tasks, has_waits
from .selection import EVERYTHING, Selection
from .table_rows import check_below, read_tables
from .totals import read_contention, read_tracks
from .totals_check import check_totals
from .values import MOST_NS, number_of, recording_of, text_of, texts_of

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats

_ROWS_PER_READ = 50_000


def load(
    path: str,
    selection: Selection = EVERYTHING,
    *,
    in_order: bool = True,
    begin_ns: int | None = None,
) -> Recording:
    """The recording, or a part of it. `begin_ns` moves all times so that it begins then. Without `in_order`, equal samples of a thread can be one run,
    and all other runs are in any order; this is much faster. Raises `BadRecordingFile` or OSError.
    """
    with opened(path) as connection:
        try:
            return _Loader(connection, selection, begin_ns).load(in_order=in_order)
        except LookupError as error:
            raise BadRecordingFile(
                f"{path} is damaged: it lacks rows that others refer to"
            ) from error
        except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
            raise BadRecordingFile(f"{path} is damaged: {error}") from error


@dataclass(slots=True)
class _Thread:
    process: int
    number: int
    identity: ThreadIdentity
    is_chosen: bool


@dataclass(slots=True)
class _Process:
    profile: Profile
    identities: list[ThreadIdentity]


class _Loader:
    def __init__(
        self, connection: sqlite3.Connection, selection: Selection, begin_ns: int | None
    ) -> None:
        self._connection = connection
        self._selection = selection
        self._begin_ns = begin_ns
        ((version,),) = connection.execute("PRAGMA user_version")
        self._has_waits = has_waits(version)
        self._tasks_column = "is_of_tasks" if has_tasks(version) else "0"
        self._base_ns = 0
        self._processes: dict[int, _Process] = {}
        self._threads: dict[int, _Thread] = {}

    def load(self, *, in_order: bool) -> Recording:
        facts = dict(self._rows("SELECT name, value FROM metadata"))
        recording = recording_of(facts)
        self._base_ns = number_of(facts.get("base_ns", 0))
        if self._begin_ns is not None:
            later_ns, self._base_ns = self._begin_ns - self._base_ns, self._begin_ns
            recording.began_ns += later_ns if recording.began_ns else 0
            recording.ended_ns += later_ns if recording.ended_ns else 0
        strings = self._strings()
        for id, process, only_own in self._process_rows():
            tables = read_tables(self._connection, id, strings, has_waits=self._has_waits)
            identities: list[ThreadIdentity] = []
            profile = Profile(
                process, tables, Window(), only_own_threads=only_own, identities=identities
            )
            self._processes[id] = _Process(profile, identities)
        self._read_threads()
        # Threads that were chosen may have waited for others: the order tells how long.
        if in_order or self._selection != EVERYTHING or not facts.get("is_complete"):
            self._read_samples()
        else:
            self._read_totals()
        self._read_counts()
        profiles = [process.profile for process in self._processes.values()]
        for profile in profiles:
            profile.finish()
        recording.profiles = [profile for profile in profiles if profile.tracks] or profiles[:1]
        self._limit_time(recording)
        return recording

    @property
    def _wait_column(self) -> str:
        return "wait" if self._has_waits else "0"

    def _rows(self, query: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(query, values)

    def _strings(self) -> list[str]:
        strings: list[str] = []
        for id, text in self._rows("SELECT id, text FROM string ORDER BY id"):
            if id != len(strings):
                raise ValueError(f"string {len(strings)} is missing")
            strings.append(text_of(text))
        return strings

    def _process_rows(self) -> Iterator[tuple[int, ProcessFacts, bool]]:
        for row in self._rows("SELECT * FROM process ORDER BY id"):
            id, pid, command, version, others, start_ns, end_ns, reason, error, only_own = row
            yield (
                id,
                ProcessFacts(
                    pid=int(pid),
                    command=texts_of(command),
                    python_version=text_of(version),
                    other_interpreters=texts_of(others),
                    start_ns=self._time(start_ns),
                    end_ns=self._time(end_ns),
                    end_reason=_end_reason(reason),
                    error=None if error is None else text_of(error),
                ),
                bool(only_own),
            )

    def _time(self, time_ns: Any) -> int:
        return 0 if time_ns is None else number_of(self._base_ns + time_ns)

    def _read_threads(self) -> None:
        rows = self._rows(
            f"SELECT id, process, number, pid, tid, interpreter, name, {self._tasks_column} FROM thread"
            " ORDER BY process, number"
        )
        chosen: set[tuple[int, int]] = set()
        for id, process, number, pid, tid, interpreter, name, of_tasks in rows:
            shown = NO_INTERPRETER if interpreter is None else int(interpreter)
            identity = ThreadIdentity(int(pid), int(tid), shown, text_of(name), bool(of_tasks))
            into = self._processes[process]
            if number != len(into.identities):
                raise ValueError(f"thread {len(into.identities)} of a process is missing")
            into.identities.append(identity)
            # Tasks are chosen with the thread of their loop, which is listed first.
            is_chosen = self._selection.has_thread(identity) or (
                identity.is_of_tasks and (process, identity.tid) in chosen
            )
            if is_chosen:
                chosen.add((process, identity.tid))
            if self._selection.is_all_time and is_chosen:
                into.profile.window.identify(number, identity)
            self._threads[id] = _Thread(process, number, identity, is_chosen)

    def _read_totals(self) -> None:
        identities = {id: thread.identity for id, thread in self._threads.items()}
        foreign = [id for id in identities if self._is_foreign(id)]
        check_totals(self._connection, self._wait_column, foreign)
        tracks = read_tracks(self._connection, identities, self._base_ns, self._wait_column)
        for process, into in self._processes.items():
            stacks = len(into.profile.tables.stack_parent)
            own = {
                id: track for id, track in tracks.items() if self._threads[id].process == process
            }
            contention = read_contention(self._connection, process, own)
            blamed = [stack for _, stack in contention.blamed_ns]
            for of in (blamed, *([run.stack for run in track.runs()] for track in own.values())):
                check_below("stack of a total", array("I", of), stacks)
            waits = len(into.profile.tables.wait_kind)
            for track in own.values():
                check_below("wait of a total", track.waits, waits)
            numbered = {self._threads[id].number: track for id, track in own.items()}
            into.profile.window = Window.of_tracks(numbered, contention)
        for id in foreign:
            # What `Profile.finish` does if it finds their samples.
            ((samples,),) = self._rows("SELECT total(samples) FROM sample WHERE thread = ?", id)
            stats = self._processes[self._threads[id].process].profile.stats
            stats["attempted"] -= int(samples)
            stats["taken"] -= int(samples)

    def _is_foreign(self, id: int) -> bool:
        """Whether a thread is not one of its process, so that its samples are left out."""
        thread = self._threads[id]
        into = self._processes[thread.process].profile
        who = thread.identity
        return into.only_own_threads and not who.tid and not who.is_of_tasks

    def _read_samples(self) -> None:
        late: dict[int, list[tuple[int, int, int]]] = {}
        for after, *row in self._rows(
            "SELECT after_sample, thread, cpu_ns, runnable_ns FROM late_cpu ORDER BY rowid"
        ):
            late.setdefault(after, []).append((row[0], row[1], row[2]))
        rows = self._rows(
            "SELECT thread, end_ns, weight_ns, samples, stack, state, cpu_ns, runnable_ns,"
            f" {self._wait_column}, id FROM sample ORDER BY id"
        )
        due = sorted(late)
        while chunk := rows.fetchmany(_ROWS_PER_READ):
            ids = [row[-1] for row in chunk]
            begin = 0
            # Late CPU time belongs to the sample before it, so each part ends with such a sample.
            while due and due[0] <= ids[-1]:
                end = bisect_right(ids, due[0])
                self._append(chunk[begin:end], late[due.pop(0)])
                begin = end
            self._append(chunk[begin:], [])
        for after in due:
            self._append([], late[after])

    def _append(
        self, rows: list[tuple[int, ...]], late_cpu: Iterable[tuple[int, int, int]]
    ) -> None:
        late_of: dict[int, list[tuple[int, int, int]]] = {}
        for id, cpu_ns, runnable_ns in late_cpu:
            thread = self._threads[id]
            check_below("late CPU time", array("q", (cpu_ns, runnable_ns)), MOST_NS)
            if self._selection.is_all_time and thread.is_chosen:
                late_of.setdefault(thread.process, []).append((thread.number, cpu_ns, runnable_ns))
        rows = self._selected(rows)
        rows_of: dict[int, list[tuple[int, ...]]] = {}
        if len(self._processes) == 1:
            rows_of[next(iter(self._processes))] = rows
        else:
            for row in rows:
                rows_of.setdefault(self._threads[row[0]].process, []).append(row)
        for process in rows_of.keys() | late_of.keys():
            self._append_to(process, rows_of.get(process, []), late_of.get(process, []))

    def _append_to(
        self, process: int, rows: list[tuple[int, ...]], late_cpu: list[tuple[int, int, int]]
    ) -> None:
        into = self._processes[process]
        if not rows and not late_cpu:
            return
        samples = SampleColumns()
        if rows:
            threads, ends_ns, weights_ns, counts, stacks, states, cpu_ns, runnable_ns, waits, _ = (
                zip(*rows, strict=True)
            )
            known, base_ns = self._threads, self._base_ns
            samples.thread.extend([known[id].number for id in threads])
            samples.time_ns.extend([base_ns + end_ns for end_ns in ends_ns])
            samples.weight_ns.extend(weights_ns)
            samples.count.extend(counts)
            samples.stack.extend(stacks)
            samples.state.extend(states)
            samples.wait.extend(waits)
            samples.cpu_ns.extend(cpu_ns)
            samples.runnable_ns.extend(runnable_ns)
            check_below("stack of a sample", stacks, len(into.profile.tables.stack_parent))
            check_below("wait of a sample", waits, len(into.profile.tables.wait_kind))
            for times_ns in (samples.time_ns, weights_ns, cpu_ns, runnable_ns):
                check_below("time of a sample", times_ns, MOST_NS)
            if any(map(int.__gt__, weights_ns, samples.time_ns)):
                raise ValueError("a sample begins before the clock")
        into.profile.window.append(batch_of_samples(samples, late_cpu), into.identities)

    def _selected(self, rows: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        selection = self._selection
        if selection.threads:
            wanted = {id for id, thread in self._threads.items() if thread.is_chosen}
            rows = [row for row in rows if row[0] in wanted]
        if selection.is_all_time:
            return rows
        # Without a begin, also what was before the recording began: the first samples of processes that ran already.
        from_ns = -MOST_NS if selection.from_ns is None else selection.from_ns
        to_ns = MOST_NS if selection.to_ns is None else selection.to_ns
        return [cut for row in rows if (cut := _cut(row, from_ns, to_ns)) is not None]

    def _read_counts(self) -> None:
        from_ns, to_ns = self._selection.from_ns, self._selection.to_ns
        for process, end_ns, name, value in self._rows(
            "SELECT c.process, c.end_ns, n.text, c.value FROM counts c"
            " LEFT JOIN string n ON n.id = c.name ORDER BY c.rowid"
        ):
            if (from_ns is not None and end_ns <= from_ns) or (
                to_ns is not None and end_ns > to_ns
            ):
                continue
            stats = self._processes[process].profile.stats
            merge = STATS_MERGES.get(text_of(name))
            if merge == "histogram":
                count: Any = [*map(number_of, json.loads(text_of(value)))]
            elif merge is not None:
                count = number_of(value)
            else:
                continue  # a count of another version
            add_stats(stats, cast("SamplerStats", {name: count}))

    def _limit_time(self, recording: Recording) -> None:
        """Lets the recording begin and end with the selection."""
        if self._selection.is_all_time:
            return
        from_ns, to_ns = self._selection.from_ns, self._selection.to_ns
        begin_ns = recording.start_ns if from_ns is None else self._base_ns + from_ns
        end_ns = recording.end_ns
        if to_ns is not None:
            end_ns = min(end_ns, self._base_ns + to_ns)
        end_ns = max(begin_ns, end_ns)
        if from_ns is not None:
            recording.start_time_ns += from_ns
            recording.began_ns = begin_ns
        recording.ended_ns = end_ns
        for profile in recording.profiles:
            process = profile.process
            process.start_ns = min(max(process.start_ns, begin_ns), end_ns)
            process.end_ns = min(max(process.start_ns, process.end_ns or end_ns), end_ns)


def _cut(row: tuple[int, ...], from_ns: int, to_ns: int) -> tuple[int, ...] | None:
    """The part of a row within the time; None if there is none. Its samples are one or more."""
    thread, end_ns, weight_ns, samples, stack, state, cpu_ns, runnable_ns, wait, id = row
    begin_ns, new_end_ns = max(end_ns - weight_ns, from_ns), min(end_ns, to_ns)
    if begin_ns >= new_end_ns and not from_ns < end_ns <= to_ns:
        return None
    left_ns = max(0, new_end_ns - begin_ns)
    if left_ns == weight_ns:
        return row
    return (
        thread,
        new_end_ns,
        left_ns,
        max(1, samples * left_ns // weight_ns),
        stack,
        state,
        cpu_ns * left_ns // weight_ns,
        runnable_ns * left_ns // weight_ns,
        wait,
        id,
    )


def _end_reason(value: object) -> EndReason:
    if value not in get_args(EndReason):
        raise ValueError("unknown reason of an end")
    return cast("EndReason", value)
