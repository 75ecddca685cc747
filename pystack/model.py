"""The result of a dump: plain, immutable data that does not depend on the target any more.

The field names are those of the JSON output and of its schema, `schemas/dump-v1.schema.json`.
None always means "unknown" or "does not exist", never zero.
"""

from __future__ import annotations

from pystack.model_frames import (
    AnyFrame,
    Frame,
    Gap,
    NativeFrame,
    Variable,
    frames_from_raw,
    frames_to_json,
)
from pystack.model_progress import Unmoved, Watched
from pystack.model_tasks import (
    EventLoop,
    Task,
    TaskWait,
    tasks_from_raw,
    tasks_to_json,
)
from pystack.waits import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from pystack._core import RawCore, RawSnapshot, RawThread
    from pystack.literals import (
        GilState,
        Kind,
        ModuleStatus,
        NameSource,
        StackEnd,
        TaskState,
        TaskWaitKind,
        VariableKind,
    )
else:
    from pystack.named_tuple import NamedTuple

    def __getattr__(name: str) -> object:
        """The types of words, for those who ask."""
        # Import statements ask for `__path__`.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pystack import literals

        return getattr(literals, name)


__all__ = [
    "SCHEMA_VERSION",
    "AnyFrame",
    "CoreDetails",
    "CoreModule",
    "EventLoop",
    "Frame",
    "Gap",
    "GilState",
    "Interpreter",
    "Kind",
    "ModuleStatus",
    "NameSource",
    "NativeFrame",
    "Snapshot",
    "StackEnd",
    "Task",
    "TaskState",
    "TaskWait",
    "TaskWaitKind",
    "Thread",
    "Unmoved",
    "Variable",
    "VariableKind",
    "Watched",
]

#: Version of the JSON output. It changes if a field changes its meaning or is removed. Readers must
#: ignore fields that they do not know.
SCHEMA_VERSION = 1


class Thread(NamedTuple):
    """One thread. If it runs code of several interpreters, its frames are those of all of them, in
    the order of the calls."""

    #: In the pid namespace of the reader.
    tid: int | None
    #: In the pid namespace of the target, if it differs.
    namespace_tid: int | None
    #: `threading.get_ident()`. This and `interpreter_id` are None if no interpreter knows the thread.
    python_thread_id: int | None
    #: The interpreter that was called last, if there are several.
    interpreter_id: int | None
    #: `threading.Thread.name`.
    name: str | None
    #: The kernel's name, which has at most 15 bytes.
    kernel_name: str | None
    is_main: bool | None
    #: The letter in `/proc/PID/stat`: R running, S sleeping, D in uninterruptible sleep, ...
    run_state: str | None
    gil: GilState | None
    gc_collecting: bool | None
    #: Type name of the exception that is being raised.
    raising: str | None
    #: Type name of the exception of the innermost `except` block.
    handling: str | None
    #: "complete", or why frames may be missing.
    stack_end: StackEnd
    #: One sentence, if `stack_end` is not "complete".
    stack_problem: str | None
    #: Outermost call first. All are `Frame`s, unless native frames were requested.
    frames: tuple[AnyFrame, ...]
    #: None if the thread does not wait, or what for is unknown.
    waits_for: Wait | None = None
    #: None if no event loop of asyncio or run of trio is in the thread, or tasks were not read.
    event_loop: EventLoop | None = None
    #: None if it moved since the dump before, or there was none to compare with.
    unmoved: Unmoved | None = None

    @classmethod
    def from_raw(cls, raw: RawThread) -> Thread:
        """Converts from the mapping of the C++ core."""
        fields: dict[str, Any] = {**raw, "frames": frames_from_raw(raw["frames"])}
        fields["waits_for"] = None if raw["waits_for"] is None else Wait.from_raw(raw["waits_for"])
        loop = raw["event_loop"]
        fields["event_loop"] = None if loop is None else EventLoop(**loop)
        return cls(**fields)

    def to_json_dict(self) -> dict[str, Any]:
        """The object in the JSON output."""
        fields = self._asdict()
        fields["frames"] = frames_to_json(self.frames)
        fields["waits_for"] = None if self.waits_for is None else self.waits_for.to_json_dict()
        fields["event_loop"] = None if self.event_loop is None else self.event_loop._asdict()
        fields["unmoved"] = None if self.unmoved is None else self.unmoved._asdict()
        return fields

    @property
    def python_frames(self) -> tuple[Frame, ...]:
        """The Python frames among `frames`."""
        return tuple([frame for frame in self.frames if isinstance(frame, Frame)])


class Interpreter(NamedTuple):
    """One interpreter of the process. The first is 0; the others are subinterpreters."""

    id: int
    gc_collecting: bool | None
    finalizing: bool | None


class CoreModule(NamedTuple):
    """One ELF file that the process had mapped, and the result of the search for it."""

    #: As the core names it.
    path: str
    #: Its addresses; `end` is exclusive.
    begin: int
    end: int
    #: "mismatched": a file was found, but has another build ID; it is not used.
    status: ModuleStatus
    #: The file that is used, or the first one that was rejected.
    found_path: str | None
    #: Build IDs as hexadecimal digits; "" if the file has none, None if unknown.
    core_build_id: str | None
    file_build_id: str | None


class CoreDetails(NamedTuple):
    """What only a core file says. None means that it does not say."""

    #: The path that the caller gave.
    path: str
    #: "gzip", "zstd", "lz4" or "xz"; None for a plain core.
    compression: str | None
    #: Why the core was written, one sentence: the signal, with address or sender, or "generated on
    #: demand".
    cause: str
    #: The signal that ended the process; None if the core was written on demand.
    signal: int | None
    signal_name: str | None
    #: Name of the `si_code`, such as "SEGV_MAPERR".
    signal_code: str | None
    fault_address: int | None
    #: The sender of the signal, in the process's own pid namespace; 0 is a process outside of it.
    sender_pid: int | None
    sender_uid: int | None
    #: The thread that received the signal.
    terminating_tid: int | None
    #: Whether the fault is at the end of that thread's stack.
    stack_overflow: bool
    ppid: int | None
    pgrp: int | None
    sid: int | None
    uid: int | None
    gid: int | None
    nice: int | None
    #: The state of the process, as the letter in `/proc/PID/stat`.
    state: str | None
    #: The modification time of the core: realtime clock.
    written_ns: int
    #: The only user who can have written the file. None: the writer is unknown, or root, who also
    #: stores the cores of others. Files on this machine that the core names are opened with the
    #: rights of this user if `uid` is the same, else only if everyone may read them.
    written_by: int | None
    #: Whether `command` is only the first 79 bytes of the arguments, split at blanks.
    arguments_cut: bool
    #: Whether the file is shorter than its own headers say, and the number of missing bytes.
    truncated: bool
    missing_bytes: int
    #: All ELF files that were mapped.
    modules: tuple[CoreModule, ...]

    @classmethod
    def from_raw(cls, raw: RawCore, path: str, compression: str | None = None) -> CoreDetails:
        """Converts from the mapping of the C++ core, which may have read an unpacked copy of `path`."""
        fields: dict[str, Any] = dict(raw)
        fields["modules"] = tuple([CoreModule(**module) for module in raw["modules"]])
        return cls(path=path, compression=compression, **fields)


class Snapshot(NamedTuple):
    """The state of one process, running or dead."""

    kind: Kind
    pid: int
    #: In the pid namespace of the target, if it is not the reader's.
    namespace_pid: int | None
    executable: str | None
    #: argv; None if it is unknown.
    command: tuple[str, ...] | None
    #: The target's Python version: "3.13.5", "3.15.0b1".
    version: str
    free_threaded: bool
    debug: bool
    #: When it was read, on the realtime clock.
    time_ns: int
    #: Whether the target was stopped while it was read.
    stopped: bool
    #: From the first stop request to the last release; None if it was not stopped.
    stop_ns: int | None
    #: Whether the target was already stopped (for example by SIGSTOP). It stays stopped.
    was_stopped: bool
    #: Without stopping: reads until every thread was proved consistent or given up.
    attempts: int
    interpreters: tuple[Interpreter, ...]
    threads: tuple[Thread, ...]
    #: What is missing from this snapshot, one sentence each.
    problems: tuple[str, ...]
    #: What only a core file says; None for a running process.
    core: CoreDetails | None
    #: Indexes into `threads`: each of these waits for the next one, and the last for the first; or,
    #: if its wait has holders with the proof "pool", for any of these. If the only one has a
    #: `process_circle`, it waits for processes that wait for it.
    deadlocks: tuple[tuple[int, ...], ...] = ()
    #: `Task.id` of asyncio tasks: each waits for a lock that the next one holds, or awaits it, and the last one the
    #: first. None that a timeout may end. Only of processes that were stopped, and in cores.
    task_deadlocks: tuple[tuple[int, ...], ...] = ()
    #: The tasks of asyncio and trio that are not done, those of asyncio first, and suspended greenlets. None if they were not
    #: requested or could not be read.
    tasks: tuple[Task, ...] | None = None
    #: The dumps that it was compared with; None if there are none.
    watched: Watched | None = None

    @classmethod
    def from_raw(cls, raw: RawSnapshot, core: CoreDetails | None = None) -> Snapshot:
        """Converts from the mapping of the C++ core; `core` has the details of a core file."""
        fields: dict[str, Any] = dict(raw)
        command = raw["command"]
        fields["command"] = None if command is None else tuple(command)
        fields["interpreters"] = tuple([Interpreter(**one) for one in raw["interpreters"]])
        fields["threads"] = tuple([Thread.from_raw(thread) for thread in raw["threads"]])
        fields["deadlocks"] = tuple([tuple(circle) for circle in raw["deadlocks"]])
        fields["task_deadlocks"] = tuple([tuple(circle) for circle in raw["task_deadlocks"]])
        tasks = raw["tasks"]
        fields["tasks"] = None if tasks is None else tasks_from_raw(tasks)
        fields["problems"] = tuple(raw["problems"])
        fields["core"] = core
        return cls(kind="live" if core is None else "core", **fields)

    def to_json_dict(self) -> dict[str, Any]:
        """The JSON output, which follows `schemas/dump-v1.schema.json`."""
        from datetime import datetime, timezone

        from pystack import __version__

        seconds, rest_ns = divmod(self.time_ns, 1_000_000_000)
        time = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest_ns // 1000)
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "pystack", "version": __version__},
            "time": time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        document.update(self._asdict())
        document["command"] = None if self.command is None else list(self.command)
        document["interpreters"] = [one._asdict() for one in self.interpreters]
        document["threads"] = [thread.to_json_dict() for thread in self.threads]
        document["deadlocks"] = [list(circle) for circle in self.deadlocks]
        document["task_deadlocks"] = [list(circle) for circle in self.task_deadlocks]
        document["tasks"] = None if self.tasks is None else tasks_to_json(self.tasks)
        document["watched"] = None if self.watched is None else self.watched._asdict()
        document["problems"] = list(self.problems)
        if self.core is not None:
            document["core"] = {
                **self.core._asdict(),
                "modules": [module._asdict() for module in self.core.modules],
            }
        return document
