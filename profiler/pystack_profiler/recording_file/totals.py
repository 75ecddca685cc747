"""The sums of equal samples, which are written at the end so that a report need not read all of them."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from ..contention import Contention
from ..track import ThreadIdentity, Track
from .values import MOST_NS


def write_totals(
    connection: sqlite3.Connection, tracks: Iterable[tuple[int, Track]], base_ns: int
) -> None:
    """`tracks`: with the file's ID of each thread."""
    for id, track in tracks:
        connection.execute(
            "INSERT INTO thread_total VALUES(?,?,?,?,?,?)",
            (
                *(id, track.start_ns - base_ns, track.end_ns - base_ns, track.changes),
                *(track.late_cpu_ns, track.late_runnable_ns),
            ),
        )
        connection.executemany("INSERT INTO stack_total VALUES(?,?,?,?,?,?,?,?)", _sums(id, track))


def _sums(id: int, track: Track) -> Iterator[tuple[int, ...]]:
    sums: dict[tuple[int, int, int, bool], list[int]] = {}
    for _, weight_ns, stack, state, samples, cpu_ns, runnable_ns, wait in track.runs():
        key = (stack, state, wait, samples == 0)
        known = sums.get(key)
        if known is None:
            sums[key] = [samples, weight_ns, cpu_ns, runnable_ns]
        else:
            known[0] += samples
            known[1] += weight_ns
            known[2] += cpu_ns
            known[3] += runnable_ns
    return ((id, stack, state, *values, wait) for (stack, state, wait, _), values in sums.items())


def read_tracks(
    connection: sqlite3.Connection,
    identities: Mapping[int, ThreadIdentity],
    base_ns: int,
    wait_column: str,
) -> dict[int, Track]:
    """The tracks of the threads by their IDs in the file. `wait_column`: the name of the column, or a
    constant. Raises ValueError or the like for damage."""
    columns_of = _columns_of_threads(connection, wait_column)
    tracks = {}
    for id, start_ns, end_ns, changes, late_cpu_ns, late_runnable_ns in connection.execute(
        "SELECT * FROM thread_total ORDER BY thread"
    ):
        if id not in identities:
            continue
        if not 0 <= base_ns + start_ns <= base_ns + end_ns < MOST_NS:
            raise ValueError("a thread ends before it begins")
        tracks[id] = track = Track.of_columns(
            identities[id],
            columns_of.get(id, [array("q")] * 7),
            start_ns=base_ns + start_ns,
            end_ns=base_ns + end_ns,
            changes=changes,
        )
        track.late_cpu_ns, track.late_runnable_ns = array("q", (late_cpu_ns, late_runnable_ns))
    return tracks


def _columns_of_threads(
    connection: sqlite3.Connection, wait_column: str
) -> dict[int, list[array[int]]]:
    """The totals of each thread: weight, stack, state, samples, CPU time, waiting time and wait, as
    columns."""
    rows = connection.execute(
        f"SELECT thread, weight_ns, stack, state, samples, cpu_ns, runnable_ns, {wait_column}"
        " FROM stack_total ORDER BY rowid"
    ).fetchall()
    if not rows:
        return {}
    ids, *values = zip(*rows, strict=True)
    columns = [array("q", column) for column in values]  # only whole numbers of 64 bits
    for times_ns in (columns[0], *columns[4:6]):
        if not 0 <= min(times_ns) <= max(times_ns) < MOST_NS:
            raise ValueError("a total is out of range")
    found: dict[int, list[array[int]]] = {}
    begin = 0
    for id, group in groupby(ids):
        end = begin + len(list(group))
        into = found.setdefault(id, [array("q") for _ in columns])
        for column, part in zip(into, columns, strict=True):
            column.extend(part[begin:end])
        begin = end
    return found


def read_contention(
    connection: sqlite3.Connection, process: int, tracks: Mapping[int, Track]
) -> Contention:
    """Who was waited for. `tracks`: by the IDs in the file; others were not selected."""
    contention = Contention()
    for thread, stack, waited_ns in connection.execute(
        "SELECT thread, stack, waited_ns FROM gil_blame WHERE process = ? ORDER BY rowid",
        (process,),
    ):
        if not 0 <= waited_ns < MOST_NS:
            raise ValueError("a waiting time is out of range")
        if thread is None:
            contention.unexplained_ns += waited_ns
        elif thread in tracks:
            contention.blamed_ns[tracks[thread], stack] = waited_ns
    return contention
