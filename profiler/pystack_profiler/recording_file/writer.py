"""Writes batches of samples and the facts of a recording to a database, a transaction at a time."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pystack.sampling import NO_INTERPRETER, WAIT_KINDS

from ..batch import Batch
from ..counts import add_stats, no_stats
from ..profile import Profile, Recording
from ..track import Track
from .totals import write_totals
from .values import facts_of, signed, text_or_bytes


class _Process:
    """A process in the file: where its next rows go."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.facts: tuple[Any, ...] = ()
        self.strings = array("I")  # the file's ID of each of the sampler's strings
        self.frames = 0
        self.stacks = 0
        self.waits = 0
        self.threads: list[int] = []  # the file's ID of each of the sampler's threads
        self.samples_end_ns = 0


class RecordingWriter:
    """Keeps batches until `flush` writes them, all or none. Times in the file count from `base_ns`."""

    def __init__(self, connection: sqlite3.Connection, base_ns: int) -> None:
        """The connection is in autocommit mode (`isolation_level=None`) and to a new file."""
        self._connection = connection
        self._base_ns = base_ns
        self._pending: list[tuple[Profile, Batch]] = []
        self._processes: dict[Profile, _Process] = {}
        self._strings: dict[str, int] = {}
        self._threads = 0
        self._samples = 0
        self._facts: dict[str, Any] = {}

    def append(self, profile: Profile, batch: Batch) -> None:
        self._pending.append((profile, batch))

    def flush(self, recording: Recording) -> None:
        """Raises sqlite3.Error if it cannot be written; then nothing more can be."""
        with self._transaction():
            for profile in (*recording.profiles, *(profile for profile, _ in self._pending)):
                self._write_process(profile)
            for profile, batch in self._pending:
                self._write_batch(self._processes[profile], batch)
            self._write_counts()
            self._write_facts(recording)
        self._pending.clear()

    def finish(
        self,
        recording: Recording,
        numbers: Callable[[Profile], Mapping[Track, int]] = lambda profile: profile.window.numbers,
    ) -> None:
        """The last `flush`: also writes what costs much to find out again. `numbers` are those of the
        threads in the batches."""
        self.flush(recording)
        with self._transaction():
            for profile in recording.profiles:
                numbers_of = numbers(profile)
                self._write_blame(profile, numbers_of)
                ids = self._processes[profile].threads
                write_totals(
                    self._connection,
                    ((ids[numbers_of[track]], track) for track in profile.all_tracks),
                    self._base_ns,
                )
            self._connection.execute("REPLACE INTO metadata VALUES('is_complete', 1)")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _insert(self, table: str, columns: str, rows: Any) -> None:
        places = ",".join("?" * len(columns.split(",")))
        self._connection.executemany(f"INSERT INTO {table}({columns}) VALUES({places})", rows)

    def _write_process(self, profile: Profile) -> None:
        known = self._processes.get(profile)
        if known is None:
            known = self._processes[profile] = _Process(len(self._processes))
        process = profile.process
        facts = (
            process.pid,
            json.dumps(process.command),
            text_or_bytes(process.python_version),
            json.dumps(process.other_interpreters),
            self._time(process.start_ns),
            self._time(process.end_ns),
            process.end_reason,
            None if process.error is None else text_or_bytes(process.error),
            profile.only_own_threads,
        )
        if facts != known.facts:
            self._connection.execute(
                f"REPLACE INTO process VALUES({known.id}, ?,?,?,?,?,?,?,?,?)", facts
            )
            known.facts = facts

    def _time(self, time_ns: int) -> int | None:
        return time_ns - self._base_ns if time_ns else None

    def _write_batch(self, process: _Process, batch: Batch) -> None:
        process.strings.extend(self._string_ids(batch.strings))
        self._write_frames(process, batch)
        first = process.stacks
        process.stacks += len(batch.stack_parent)
        self._insert(
            "stack",
            "process,id,parent,frame",
            (
                (process.id, *row)
                for row in zip(
                    range(first, process.stacks), batch.stack_parent, batch.stack_frame, strict=True
                )
            ),
        )
        self._write_waits(process, batch)
        self._write_threads(process, batch.threads)
        base_ns, threads = self._base_ns, process.threads
        self._insert(
            "sample",
            "thread,stack,state,samples,end_ns,weight_ns,cpu_ns,runnable_ns,wait",
            zip(
                [threads[number] for number in batch.thread],
                batch.stack,
                batch.state,
                batch.count,
                [time_ns - base_ns for time_ns in batch.time_ns],
                batch.weight_ns,
                batch.cpu_ns,
                batch.runnable_ns,
                batch.wait,
                strict=True,
            ),
        )
        self._samples += len(batch.thread)
        if len(batch.time_ns):
            process.samples_end_ns = max(process.samples_end_ns, batch.time_ns[-1])
        self._insert(
            "late_cpu",
            "thread,after_sample,cpu_ns,runnable_ns",
            (
                (threads[number], self._samples, cpu_ns, runnable_ns)
                for number, cpu_ns, runnable_ns in batch.late_cpu
            ),
        )

    def _string_ids(self, strings: Iterable[str]) -> list[int]:
        """Writes those that are new."""
        known = self._strings
        ids: list[int] = []
        new: list[tuple[int, str | bytes]] = []
        for text in strings:
            count = len(known)
            id = known.setdefault(text, count)
            if id == count:
                new.append((id, text_or_bytes(text)))
            ids.append(id)
        self._insert("string", "id,text", new)
        return ids

    def _write_frames(self, process: _Process, batch: Batch) -> None:
        first, strings = process.frames, process.strings
        process.frames += len(batch.frame_kind)
        self._insert(
            "frame",
            "process,id,kind,function,file,line,first_line,module,build_id,address,inline_depth,"
            "name_source",
            zip(
                [process.id] * len(batch.frame_kind),
                range(first, process.frames),
                batch.frame_kind,
                [strings[id] for id in batch.frame_function],
                [strings[id] for id in batch.frame_file],
                batch.frame_line,
                batch.frame_first_line,
                [strings[id] for id in batch.frame_module],
                [strings[id] for id in batch.frame_build_id],
                map(signed, batch.frame_address),
                batch.frame_inline_depth,
                batch.frame_name_source,
                strict=True,
            ),
        )

    def _write_waits(self, process: _Process, batch: Batch) -> None:
        first, strings = process.waits, process.strings
        process.waits += len(batch.wait_kind)
        self._insert(
            "wait",
            "process,id,kind,type,name,holder",
            zip(
                [process.id] * len(batch.wait_kind),
                range(first, process.waits),
                [WAIT_KINDS[kind] for kind in batch.wait_kind],
                [strings[id] for id in batch.wait_type],
                [strings[id] for id in batch.wait_name],
                [holder - 1 if holder else None for holder in batch.wait_holder],
                strict=True,
            ),
        )

    def _write_threads(
        self, process: _Process, threads: Sequence[tuple[int, int, int, int, str, bool]]
    ) -> None:
        for number, pid, tid, interpreter, name, is_of_tasks in threads:
            if number == len(process.threads):
                process.threads.append(self._threads)
                self._threads += 1
            shown = None if interpreter == NO_INTERPRETER else interpreter
            self._connection.execute(
                "REPLACE INTO thread VALUES(?,?,?,?,?,?,?,?)",
                (
                    *(process.threads[number], process.id, number, pid, tid, shown),
                    *(text_or_bytes(name), is_of_tasks),
                ),
            )

    def _write_counts(self) -> None:
        sums = {profile: no_stats() for profile, _ in self._pending}
        for profile, batch in self._pending:
            add_stats(sums[profile], batch.stats)
        for profile, stats in sums.items():
            process = self._processes[profile]
            end_ns = max(0, process.samples_end_ns - self._base_ns)
            counts = {name: value for name, value in stats.items() if value}
            names = self._string_ids(counts)
            self._insert(
                "counts",
                "process,end_ns,name,value",
                (
                    (process.id, end_ns, name, _count(value))
                    for name, value in zip(names, counts.values(), strict=True)
                ),
            )

    def _write_blame(self, profile: Profile, numbers: Mapping[Track, int]) -> None:
        process, contention = self._processes[profile], profile.contention
        rows: list[tuple[int | None, ...]] = [
            (process.id, process.threads[numbers[track]], stack, waited_ns)
            for (track, stack), waited_ns in contention.blamed_ns.items()
        ]
        if contention.unexplained_ns:
            rows.append((process.id, None, None, contention.unexplained_ns))
        self._insert("gil_blame", "process,thread,stack,waited_ns", rows)

    def _write_facts(self, recording: Recording) -> None:
        facts = {**facts_of(recording), "base_ns": self._base_ns}
        changed = [item for item in facts.items() if self._facts.get(item[0], self) != item[1]]
        self._connection.executemany("REPLACE INTO metadata VALUES(?,?)", changed)
        self._facts = facts


def _count(value: object) -> object:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value
