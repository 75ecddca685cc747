"""What a reading gives: plain, immutable data, independent of the target it came from.

The field names are those of `dump --json` and of its schema, `schemas/dump-v1.schema.json`.
None always means "cannot be known here" or "there is none", never zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from pystack._core import RawCore, RawFrame, RawGap, RawNativeFrame, RawSnapshot, RawThread

#: Version of the JSON form. It changes when the meaning of a field does, or one goes away; readers
#: must let fields pass that they do not know.
SCHEMA_VERSION = 1

Kind = Literal["live", "core"]
NameSource = Literal["debug-info", "symbols", "method-table", "none"]
GilState = Literal["holds", "waits", "dropping", "none"]
StackEnd = Literal["complete", "torn", "unreadable", "depth_limit", "no_python"]
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
ModuleStatus = Literal["found", "missing", "mismatched"]


class Variable(NamedTuple):
    """An argument or a local variable that has a value. The texts hold no control characters."""

    name: str
    kind: VariableKind
    #: As repr() would write it, made without running code of the target; None where `redacted`.
    value: str | None
    #: Of the value's class, with its module; None where it could not be read or must not be.
    type: str | None
    #: Whether the value was not looked at, because of the name.
    redacted: bool


class Frame(NamedTuple):
    """One call of Python code.

    Lines count from 1; columns are UTF-8 byte offsets from 0, as `co_positions()`.
    """

    kind: Literal["python"]
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
    #: Arguments as in the signature, then the others; None where they were not asked for.
    variables: tuple[Variable, ...] | None = None
    #: How many more there are.
    variables_omitted: int = 0
    #: Why there are none, or not all.
    variables_problem: str | None = None
    #: The interpreter that runs it, where that is another than its thread's.
    interpreter_id: int | None = None

    @classmethod
    def from_raw(cls, raw: RawFrame) -> Frame:
        """From the mapping of the C++ core."""
        fields: dict[str, Any] = dict(raw)
        if raw["variables"] is not None:
            fields["variables"] = tuple([Variable(**one) for one in raw["variables"]])
        return cls(**fields)

    def to_json_dict(self) -> dict[str, Any]:
        """As in the document of `dump --json`."""
        fields = self._asdict()
        if self.variables is not None:
            fields["variables"] = [variable._asdict() for variable in self.variables]
        if self.interpreter_id is None:
            del fields["interpreter_id"]
        return fields

    @property
    def name(self) -> str:
        """The qualified name where the version has one, else the plain one."""
        return self.function if self.qualname is None else self.qualname


class NativeFrame(NamedTuple):
    """One call of compiled code. Only where native frames were asked for."""

    kind: Literal["native"]
    #: The short name, without parameters. "module+0xoffset" where there is no name, never that of
    #: a neighbour.
    function: str
    #: What Python calls it, as "list.sort", by the interpreter's own tables of functions.
    python_name: str | None
    #: With parameters and template arguments; equal to `function` in C.
    signature: str
    #: As in the symbol table, mangled.
    symbol: str | None
    #: Where `function` is from.
    name_source: NameSource
    #: As in the debug information.
    file: str | None
    line: int | None
    #: The path of the file that the code is in; None for code that is in no file.
    module: str | None
    build_id: str | None
    #: Of the next instruction, as in the module's headers: what other tools take.
    offset: int
    #: The same in the memory of the target.
    address: int
    #: Whether the compiler inlined this call into the one before.
    is_inlined: bool
    #: Whether it is only the machinery by which the interpreter calls things, and starts.
    is_plumbing: bool
    #: Whether it was found without call frame information that leads to it.
    is_guess: bool

    @classmethod
    def from_raw(cls, raw: RawNativeFrame) -> NativeFrame:
        """From the mapping of the C++ core."""
        return cls(**raw)

    def to_json_dict(self) -> dict[str, Any]:
        """As in the document of `dump --json`."""
        return self._asdict()

    @property
    def name(self) -> str:
        """What Python calls it where that is known, else the name of the function."""
        return self.function if self.python_name is None else self.python_name


class Gap(NamedTuple):
    """A place in a stack where native frames are missing."""

    kind: Literal["gap"]
    #: Why, one sentence.
    reason: str

    @classmethod
    def from_raw(cls, raw: RawGap) -> Gap:
        """From the mapping of the C++ core."""
        return cls(**raw)

    def to_json_dict(self) -> dict[str, Any]:
        """As in the document of `dump --json`."""
        return self._asdict()


AnyFrame = Frame | NativeFrame | Gap


def _frame_from_raw(raw: RawFrame | RawNativeFrame | RawGap) -> AnyFrame:
    if raw["kind"] == "python":
        return Frame.from_raw(raw)
    if raw["kind"] == "native":
        return NativeFrame.from_raw(raw)
    return Gap.from_raw(raw)


class Thread(NamedTuple):
    """One thread of one interpreter, or one that no interpreter knows."""

    #: In the pid namespace of the reader.
    tid: int | None
    #: In the pid namespace of the target, where that is another.
    namespace_tid: int | None
    #: `threading.get_ident()`; None, as the next, of a thread that no interpreter knows.
    python_thread_id: int | None
    interpreter_id: int | None
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
    #: Outermost call first. All are `Frame`s, unless native frames were asked for.
    frames: tuple[AnyFrame, ...]

    @classmethod
    def from_raw(cls, raw: RawThread) -> Thread:
        """From the mapping of the C++ core."""
        fields: dict[str, Any] = dict(raw)
        fields["frames"] = tuple([_frame_from_raw(frame) for frame in raw["frames"]])
        return cls(**fields)

    @property
    def python_frames(self) -> tuple[Frame, ...]:
        """The calls of Python code among `frames`."""
        return tuple([frame for frame in self.frames if isinstance(frame, Frame)])


class Interpreter(NamedTuple):
    """One interpreter of the process. The first is 0; the others are subinterpreters."""

    id: int
    gc_collecting: bool | None
    finalizing: bool | None


class CoreModule(NamedTuple):
    """One ELF file that the process had mapped, and what became of the search for it."""

    #: As the core names it.
    path: str
    #: Its addresses, from the first to behind the last.
    begin: int
    end: int
    #: "mismatched": there is a file, but of another build; it is used for nothing.
    status: ModuleStatus
    #: The file that is used, or the first one that was refused.
    found_path: str | None
    #: Build ids as hexadecimal digits; "" where there is none, None where that cannot be known.
    core_build_id: str | None
    file_build_id: str | None


class CoreDetails(NamedTuple):
    """What a core file says beyond what a running process would. None: it does not say."""

    #: The file that was read, as the caller named it.
    path: str
    #: How it was compressed: "gzip", "zstd", "lz4", "xz"; None for a plain one.
    compression: str | None
    #: Why there is a core, one sentence: the signal, with address or sender, or "generated on
    #: demand".
    cause: str
    #: What ended the process; None where the core was written on demand.
    signal: int | None
    signal_name: str | None
    #: Name of the `si_code`, as "SEGV_MAPERR".
    signal_code: str | None
    fault_address: int | None
    #: Who sent the signal, in the process's own pid namespace; 0 is somebody outside of it.
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
    #: Of the process, the letter of `/proc/PID/stat`.
    state: str | None
    #: When the core was written, by its file's date: realtime clock.
    written_ns: int
    #: Whether `command` is only the first 79 bytes of the arguments, split at blanks.
    arguments_cut: bool
    #: Whether the file ends before its own headers say, and how many bytes are missing.
    truncated: bool
    missing_bytes: int
    #: Each ELF file that was mapped.
    modules: tuple[CoreModule, ...]

    @classmethod
    def from_raw(cls, raw: RawCore, path: str, compression: str | None = None) -> CoreDetails:
        """From the mapping of the C++ core, which need not have read `path` itself."""
        fields: dict[str, Any] = dict(raw)
        fields["modules"] = tuple([CoreModule(**module) for module in raw["modules"]])
        return cls(path=path, compression=compression, **fields)


class Snapshot(NamedTuple):
    """One reading of one process, running or dead."""

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
    #: What only a core file says; None for a running process.
    core: CoreDetails | None

    @classmethod
    def from_raw(cls, raw: RawSnapshot, core: CoreDetails | None = None) -> Snapshot:
        """From the mapping of the C++ core, for core files with the details made of it."""
        fields: dict[str, Any] = dict(raw)
        command = raw["command"]
        fields["command"] = None if command is None else tuple(command)
        fields["interpreters"] = tuple([Interpreter(**one) for one in raw["interpreters"]])
        fields["threads"] = tuple([Thread.from_raw(thread) for thread in raw["threads"]])
        fields["problems"] = tuple(raw["problems"])
        fields["core"] = core
        return cls(kind="live" if core is None else "core", **fields)

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
            {**thread._asdict(), "frames": [frame.to_json_dict() for frame in thread.frames]}
            for thread in self.threads
        ]
        document["problems"] = list(self.problems)
        if self.core is not None:
            document["core"] = {
                **self.core._asdict(),
                "modules": [module._asdict() for module in self.core.modules],
            }
        return document
