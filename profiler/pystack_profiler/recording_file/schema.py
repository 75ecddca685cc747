"""The tables and views of a recording file, an SQLite database. docs/recording-file.md describes them.

Rows are only added while a recording runs, except those of `metadata`, `process` and `thread`. IDs of
frames and stacks are those of the process's sampler, so each process has its own.
"""

from __future__ import annotations

import sqlite3

from pystack.errors import PystackError
from pystack.sampling import FrameKind, SampleState

from ..tables import NO_PYTHON

#: Bytes 68 to 71 of the file, "PySt": `file` and other programs can tell recordings by it.
APPLICATION_ID = 0x50795374
#: The user_version of the file, raised if a table changes.
VERSION = 3

TABLES = {
    "metadata": """CREATE TABLE metadata(
    name TEXT PRIMARY KEY,
    value
) WITHOUT ROWID""",
    "process": """CREATE TABLE process(
    id INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL,
    command TEXT NOT NULL,
    python_version TEXT NOT NULL,
    other_interpreters TEXT NOT NULL,
    start_ns INTEGER,
    end_ns INTEGER,
    end_reason TEXT NOT NULL,
    error TEXT,
    only_own_threads INTEGER NOT NULL
)""",
    "thread": """CREATE TABLE thread(
    id INTEGER PRIMARY KEY,
    process INTEGER NOT NULL,
    number INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    tid INTEGER NOT NULL,
    interpreter INTEGER,
    name TEXT NOT NULL,
    is_of_tasks INTEGER NOT NULL
)""",
    "string": """CREATE TABLE string(
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL
)""",
    "frame": """CREATE TABLE frame(
    process INTEGER NOT NULL,
    id INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    function INTEGER NOT NULL,
    file INTEGER NOT NULL,
    line INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    module INTEGER NOT NULL,
    build_id INTEGER NOT NULL,
    address INTEGER NOT NULL,
    inline_depth INTEGER NOT NULL,
    name_source INTEGER NOT NULL,
    PRIMARY KEY(process, id)
) WITHOUT ROWID""",
    "stack": """CREATE TABLE stack(
    process INTEGER NOT NULL,
    id INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    PRIMARY KEY(process, id)
) WITHOUT ROWID""",
    "wait": """CREATE TABLE wait(
    process INTEGER NOT NULL,
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    type INTEGER NOT NULL,
    name INTEGER NOT NULL,
    holder INTEGER,
    PRIMARY KEY(process, id)
) WITHOUT ROWID""",
    "sample": """CREATE TABLE sample(
    id INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    stack INTEGER NOT NULL,
    state INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    weight_ns INTEGER NOT NULL,
    cpu_ns INTEGER NOT NULL,
    runnable_ns INTEGER NOT NULL,
    wait INTEGER NOT NULL
)""",
    "late_cpu": """CREATE TABLE late_cpu(
    thread INTEGER NOT NULL,
    after_sample INTEGER NOT NULL,
    cpu_ns INTEGER NOT NULL,
    runnable_ns INTEGER NOT NULL
)""",
    "gil_blame": """CREATE TABLE gil_blame(
    process INTEGER NOT NULL,
    thread INTEGER,
    stack INTEGER,
    waited_ns INTEGER NOT NULL
)""",
    "thread_total": """CREATE TABLE thread_total(
    thread INTEGER PRIMARY KEY,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    late_cpu_ns INTEGER NOT NULL,
    late_runnable_ns INTEGER NOT NULL
)""",
    "stack_total": """CREATE TABLE stack_total(
    thread INTEGER NOT NULL,
    stack INTEGER NOT NULL,
    state INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    weight_ns INTEGER NOT NULL,
    cpu_ns INTEGER NOT NULL,
    runnable_ns INTEGER NOT NULL,
    wait INTEGER NOT NULL
)""",
    "counts": """CREATE TABLE counts(
    process INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    name INTEGER NOT NULL,
    value NOT NULL
)""",
}

_WITHOUT_WAITS = "    runnable_ns INTEGER NOT NULL\n)"
_WITH_WAITS = "    runnable_ns INTEGER NOT NULL,\n    wait INTEGER NOT NULL\n)"
_WITHOUT_TASKS = "    name TEXT NOT NULL\n)"
_WITH_TASKS = "    name TEXT NOT NULL,\n    is_of_tasks INTEGER NOT NULL\n)"


def has_waits(user_version: int) -> bool:
    """Whether a file of this version says what threads waited for."""
    return user_version >= 2


def has_tasks(user_version: int) -> bool:
    """Whether threads of a file of this version can be rows of tasks."""
    return user_version >= 3


def tables_of(user_version: int) -> dict[str, str]:
    """The tables of a file of this version."""
    old = dict(TABLES)
    if not has_tasks(user_version):
        old["thread"] = old["thread"].replace(_WITH_TASKS, _WITHOUT_TASKS)
    if not has_waits(user_version):
        del old["wait"]
        for name in ("sample", "stack_total"):
            old[name] = old[name].replace(_WITH_WAITS, _WITHOUT_WAITS)
    return old


_KIND = (
    f"CASE f.kind WHEN {FrameKind.PYTHON} THEN 'python' WHEN {FrameKind.NATIVE} THEN 'native'"
    " ELSE 'marker' END"
)


def _is(bit: int, known: int) -> str:
    return f"CASE WHEN s.state & {known} THEN (s.state & {bit}) <> 0 END"


_LEAF = f"""CASE s.stack WHEN 0 THEN '{NO_PYTHON}' ELSE f.function END AS function, f.file, f.line, t.process, s.stack, w.kind AS waits_for, w.name AS waited_for,
    w.holder
FROM sample s
JOIN thread t ON t.id = s.thread
LEFT JOIN stack k ON k.process = t.process AND k.id = s.stack AND s.stack <> 0
LEFT JOIN frames f ON f.process = k.process AND f.id = k.frame
LEFT JOIN waits w ON w.process = t.process AND w.id = s.wait AND s.wait <> 0"""

#: For people; nothing here reads them.
VIEWS = {
    "frames": f"""CREATE VIEW frames AS
SELECT f.process, f.id, {_KIND} AS kind, n.text AS function, p.text AS file,
    nullif(f.line, -1) AS line, nullif(f.first_line, -1) AS first_line,
    nullif(m.text, '') AS module, nullif(b.text, '') AS build_id,
    CASE WHEN f.kind = {FrameKind.NATIVE} THEN printf('0x%x', f.address) END AS address
FROM frame f
JOIN string n ON n.id = f.function
JOIN string p ON p.id = f.file
JOIN string m ON m.id = f.module
JOIN string b ON b.id = f.build_id""",
    "samples": f"""CREATE VIEW samples AS
SELECT s.id, (s.end_ns - s.weight_ns) / 1e9 AS start_s, s.end_ns / 1e9 AS end_s, t.pid, t.tid,
    t.name AS thread, s.samples, s.weight_ns, s.cpu_ns, s.runnable_ns,
    {_is(SampleState.ON_CPU, SampleState.CPU_KNOWN)} AS on_cpu,
    {_is(SampleState.HOLDS_GIL, SampleState.GIL_KNOWN)} AS holds_gil,
    {_is(SampleState.WAITS_FOR_GIL, SampleState.GIL_KNOWN)} AS waits_for_gil,
    (s.state & {SampleState.GC}) <> 0 AS collects_garbage,
    {_LEAF} WHERE NOT t.is_of_tasks""",
    "task_samples": f"""CREATE VIEW task_samples AS
SELECT s.id, (s.end_ns - s.weight_ns) / 1e9 AS start_s, s.end_ns / 1e9 AS end_s, t.pid,
    nullif(t.tid, 0) AS loop_tid, s.samples, s.weight_ns, {_LEAF} WHERE t.is_of_tasks""",
    "waits": """CREATE VIEW waits AS
SELECT w.process, w.id, w.kind, nullif(y.text, '') AS type, nullif(n.text, '') AS name,
    t.tid AS holder_tid, t.name AS holder
FROM wait w
JOIN string y ON y.id = w.type
JOIN string n ON n.id = w.name
LEFT JOIN thread t ON t.process = w.process AND t.number = w.holder""",
    "stack_frames": """CREATE VIEW stack_frames AS
WITH RECURSIVE walk(process, stack, depth, parent, frame) AS (
    SELECT process, id, 0, parent, frame FROM stack WHERE id <> 0
    UNION ALL
    SELECT w.process, w.stack, w.depth + 1, k.parent, k.frame
    FROM walk w JOIN stack k ON k.process = w.process AND k.id = w.parent
    WHERE w.parent <> 0
)
SELECT w.process, w.stack, w.depth, f.kind, f.function, f.file, f.line
FROM walk w JOIN frames f ON f.process = w.process AND f.id = w.frame""",
    "functions": f"""CREATE VIEW functions AS
WITH own(process, stack, samples, wall_ns, cpu_ns) AS (
    SELECT t.process, s.stack, sum(s.samples), sum(s.weight_ns), sum(s.cpu_ns)
    FROM sample s JOIN thread t ON t.id = s.thread AND NOT t.is_of_tasks
    GROUP BY 1, 2
)
SELECT o.process, coalesce(f.function, '{NO_PYTHON}') AS function, f.file, f.first_line, sum(o.samples) AS self_samples,
    sum(o.wall_ns) AS self_ns, sum(o.cpu_ns) AS self_cpu_ns
FROM own o
LEFT JOIN stack k ON k.process = o.process AND k.id = o.stack AND o.stack <> 0
LEFT JOIN frames f ON f.process = k.process AND f.id = k.frame
GROUP BY 1, 2, 3, 4""",
    "threads": """CREATE VIEW threads AS
SELECT t.process, t.pid, t.tid, t.interpreter, t.name, sum(s.samples) AS samples,
    sum(s.weight_ns) AS seen_ns, sum(s.cpu_ns) AS cpu_ns, sum(s.runnable_ns) AS runnable_ns
FROM thread t LEFT JOIN sample s ON s.thread = t.id
WHERE NOT t.is_of_tasks
GROUP BY t.id""",
    "losses": """CREATE VIEW losses AS
SELECT c.process, n.text AS name, sum(c.value) AS value
FROM counts c JOIN string n ON n.id = c.name
WHERE typeof(c.value) = 'integer'
GROUP BY 1, 2""",
}


class BadRecordingFile(PystackError):
    """A file that is not a recording, is damaged, or was written by a newer version."""


def create(connection: sqlite3.Connection) -> None:
    """Makes an empty database a recording file."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    for statement in (*TABLES.values(), *VIEWS.values()):
        connection.execute(statement)
