"""What a reading gives: plain, immutable data, independent of the target it came from.

The field names are those of `dump --json` and of its schema, `schemas/dump-v1.schema.json`.
None always means "cannot be known here" or "there is none", never zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from pystack._core import RawSnapshot, RawThread

#: Version of the JSON form. It changes when the meaning of a field does, or one goes away; readers
#: must let fields pass that they do not know.
SCHEMA_VERSION = 1

Kind = Literal["live", "core"]
FrameKind = Literal["python", "native"]
GilState = Literal["holds", "waits", "dropping", "none"]
StackEnd = Literal["complete", "torn", "unreadable", "depth_limit", "no_python"]


class Frame(NamedTuple):
    """One call. Lines count from 1; columns are UTF-8 byte offsets from 0, as `co_positions()`."""

    kind: FrameKind
    #: `co_name`.
    function: str
    #: `co_qualname`; None below 3.11.
    qualname: str | None
    #: `co_filename`, as the target has it: a path in the target's own file system, or relative.
    file: str
    #: None where the compiler noted no line.
    line: int | None
    #: The running expression, `line`:`column` to `end_line`:`end_column`; None below 3.11.
    end_line: int | None
    column: int | None
    end_column: int | None
    first_line: int

    @property
    def name(self) -> str:
        """The qualified name where the version has one, else the plain one."""
        return self.function if self.qualname is None else self.qualname


class Thread(NamedTuple):
    """One thread of one interpreter."""

    #: In the pid namespace of the reader.
    tid: int | None
    #: In the pid namespace of the target, where that is another.
    namespace_tid: int | None
    #: `threading.get_ident()`.
    python_thread_id: int
    interpreter_id: int
    #: `threading.Thread.name`.
    name: str | None
    #: What the kernel calls it, cut by the kernel to 15 bytes.
    kernel_name: str | None
    is_main: bool | None
    #: One letter of `/proc/PID/stat`: R running, S sleeping, D in an uninterruptible wait, ...
    run_state: str | None
    gil: GilState | None
    gc_collecting: bool | None
    #: Type name of the exception on its way.
    raising: str | None
    #: Type name of the exception of the innermost `except` block.
    handling: str | None
    #: "complete", or why `frames` may lack some.
    stack_end: StackEnd
    #: One sentence where `stack_end` is not "complete".
    stack_problem: str | None
    #: Outermost call first.
    frames: tuple[Frame, ...]

    @classmethod
    def from_raw(cls, raw: RawThread) -> Thread:
        """From the mapping of the C++ core."""
        fields: dict[str, Any] = dict(raw)
        fields["frames"] = tuple([Frame(**frame) for frame in raw["frames"]])
        return cls(**fields)


class Interpreter(NamedTuple):
    """One interpreter of the process. The first is 0; the others are subinterpreters."""

    id: int
    gc_collecting: bool | None
    finalizing: bool | None


class Snapshot(NamedTuple):
    """One reading of one process."""

    kind: Kind
    pid: int
    #: In the pid namespace of the target, where that is another than the reader's.
    namespace_pid: int | None
    executable: str | None
    #: argv; None where it cannot be known.
    command: tuple[str, ...] | None
    #: Of the target's Python: "3.13.5", "3.15.0b1".
    version: str
    free_threaded: bool
    debug: bool
    #: When it was read, on the realtime clock.
    time_ns: int
    #: Whether the target was stopped for the reading.
    stopped: bool
    #: From the first stop request to the last release; None where it was not stopped.
    stop_ns: int | None
    #: Whether somebody else had stopped it before. It was left so.
    was_stopped: bool
    #: Reads until every thread was proved consistent or given up (without stopping).
    attempts: int
    interpreters: tuple[Interpreter, ...]
    threads: tuple[Thread, ...]
    #: What could not be read, one sentence each.
    problems: tuple[str, ...]

    @classmethod
    def from_raw(cls, raw: RawSnapshot, kind: Kind = "live") -> Snapshot:
        """From the mapping of the C++ core."""
        fields: dict[str, Any] = dict(raw)
        command = raw["command"]
        fields["command"] = None if command is None else tuple(command)
        fields["interpreters"] = tuple([Interpreter(**one) for one in raw["interpreters"]])
        fields["threads"] = tuple([Thread.from_raw(thread) for thread in raw["threads"]])
        fields["problems"] = tuple(raw["problems"])
        return cls(kind=kind, **fields)

    def to_json_dict(self) -> dict[str, Any]:
        """The document of `dump --json`, valid under `schemas/dump-v1.schema.json`."""
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
        document["threads"] = [
            {**thread._asdict(), "frames": [frame._asdict() for frame in thread.frames]}
            for thread in self.threads
        ]
        document["problems"] = list(self.problems)
        return document
