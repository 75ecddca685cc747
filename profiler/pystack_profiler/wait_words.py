"""What a thread waits for, in words, and as the innermost frame of its stack:
`<waiting: lock Account.lock, held by pay-2>`."""

from __future__ import annotations

from pystack.render.escape import escape
from pystack.sampling import WAIT_KINDS

from .tables import SymbolTables

#: By the words of `pystack.waits.WaitKind`. `{type}` is the class of the object.
_WORDS = {
    "gil": "GIL",
    "lock": "lock",
    "mutex": "pthread mutex",
    "pthread_condition": "pthread condition",
    "condition": "{type}",
    "event": "{type}",
    "semaphore": "{type}",
    "barrier": "{type}",
    "queue_item": "item of {type}",
    "queue_space": "space in {type}",
    "queue_tasks": "tasks of {type}",
    "work": "work in a thread pool",
    "thread": "end of thread",
    "future": "result of {type}",
    "import_lock": "import of",
    "futex": "unknown lock",
    "timer": "sleep",
    "poll": "files",
    "socket": "socket",
    "pipe": "pipe",
    "terminal": "terminal",
    "file": "file",
    "descriptor": "file",
    "process": "child",
    "file_lock": "file lock",
    "signal": "signal",
    "kernel": "kernel",
    "task": "end of task",
    "tasks": "tasks of {type}",
    "awaitable": "{type}",
}
_MULTIPROCESSING = "_multiprocessing.SemLock"


_BEGIN = "<waiting: "


def wait_frame(reason: str) -> str:
    """The name of the frame."""
    return f"{_BEGIN}{reason}>"


def is_wait_frame(name: str) -> bool:
    return name.startswith(_BEGIN)


def reason_of_frame(name: str) -> str:
    """The opposite of `wait_frame`."""
    return name.removeprefix(_BEGIN).removesuffix(">")


def wait_reason(kind: str, type_name: str = "", name: str = "", holder: str | None = None) -> str:
    """`holder`: the name of the thread that it waits for, if that is known."""
    short = type_name.rpartition(".")[2]
    words = _WORDS.get(kind, kind)
    if type_name == _MULTIPROCESSING:
        words = "semaphore of multiprocessing"
    elif kind == "lock" and short == "RLock":
        words = "RLock"
    elif kind == "import_lock" and not name:
        words = "import"
    else:
        words = words.format(type=short or kind.partition("_")[0])
    if kind == "thread":
        return f"{words} {holder or name}".rstrip()
    text = f"{words} {name}" if name else words
    if not holder:
        return text
    return f"{text} by {holder}" if kind == "import_lock" else f"{text}, held by {holder}"


def row_reason(tables: SymbolTables, wait: int, holder: str | None = None) -> str:
    """Of a row of the table of waits."""
    return wait_reason(
        WAIT_KINDS[tables.wait_kind[wait]],
        escape(tables.strings[tables.wait_type[wait]]),
        escape(tables.strings[tables.wait_name[wait]]),
        holder,
    )
