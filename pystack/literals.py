"""The words that fields of the model can have. Their types are used by type checkers; `pystack.model` and
`pystack.waits` have them as well, but import this module only for those who ask: `typing` takes long to import.
"""

from __future__ import annotations

from typing import Literal

NameSource = Literal["debug-info", "symbols", "method-table", "perf-map", "none"]
VariableKind = Literal[
    "positional_only",
    "positional",
    "keyword_only",
    "var_positional",
    "var_keyword",
    "implicit",
    "local",
    "cell",
    "free",
]
TaskLibrary = Literal["asyncio", "trio", "greenlet"]
TaskState = Literal["created", "ready", "running", "waiting"]
TaskWaitKind = Literal[
    "other",
    "task",
    "future",
    "gather",
    "wait",
    "task_group",
    "sleep",
    "lock",
    "semaphore",
    "condition",
    "event",
    "barrier",
    "queue_get",
    "queue_put",
    "queue_join",
    "stream_read",
    "stream_write",
    "executor",
    "process",
]
WaitKind = Literal[
    "gil",
    "lock",
    "mutex",
    "pthread_condition",
    "condition",
    "event",
    "semaphore",
    "barrier",
    "queue_item",
    "queue_space",
    "queue_tasks",
    "work",
    "thread",
    "future",
    "import_lock",
    "futex",
    "timer",
    "poll",
    "socket",
    "pipe",
    "terminal",
    "file",
    "descriptor",
    "process",
    "file_lock",
    "signal",
    "kernel",
]
HolderProof = Literal["owner", "with_block", "thread", "worker", "pool", "event_loop"]
Kind = Literal["live", "core"]
GilState = Literal["holds", "waits", "dropping", "none"]
StackEnd = Literal["complete", "torn", "unreadable", "depth_limit", "no_python"]
ModuleStatus = Literal["found", "missing", "mismatched"]
