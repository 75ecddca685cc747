"""The C++ core, as Python sees it. Conversions only: the types users meet are in `pystack.model`.

Every failure leaves through `pystack.errors.from_code`, so callers see the classes of `pystack.errors`.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

GilState = Literal["holds", "waits", "dropping", "none"]
StackEnd = Literal["complete", "torn", "unreadable", "depth_limit", "no_python"]

class RawVariable(TypedDict):
    name: str
    kind: Literal[
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
    value: str | None  # None: redacted
    type: str | None  # of the value's class, with its module
    redacted: bool

class RawLocals(TypedDict):
    """How much of the variables to read."""

    max_depth: int
    max_items: int
    max_string: int
    max_bytes: int  # of one thread
    redact: list[str]  # parts of names, in any case

class RawForeignFrame(TypedDict, total=False):
    interpreter_id: int  # only there where it is another than the thread's

class RawFrame(RawForeignFrame):
    kind: Literal["python"]
    function: str  # co_name
    qualname: str | None  # co_qualname; None below 3.11
    file: str  # co_filename as the target has it
    line: int | None  # 1-based; None where the line table says "no line"
    end_line: int | None
    column: int | None  # 0-based UTF-8 byte offset, as co_positions() has it; 3.11+
    end_column: int | None
    first_line: int  # co_firstlineno
    variables: list[RawVariable] | None  # None: not asked for
    variables_omitted: int  # how many more there are
    variables_problem: str | None

class RawNativeFrame(TypedDict):
    kind: Literal["native"]
    function: str  # short; module+0xoffset where there is no name
    python_name: str | None  # by the tables of the interpreter
    signature: str  # with parameters
    symbol: str | None  # mangled
    name_source: Literal["debug-info", "symbols", "method-table", "none"]
    file: str | None
    line: int | None
    module: str | None  # path; None for code that is in no file
    build_id: str | None
    offset: int  # of the next instruction, as in the module's headers
    address: int  # of the same in the target
    is_inlined: bool
    is_plumbing: bool
    is_guess: bool

class RawGap(TypedDict):
    kind: Literal["gap"]
    reason: str

class RawNative(TypedDict):
    """Which native frames to read."""

    all_threads: bool  # those as well that the interpreter does not know
    last_only: bool  # only what the innermost Python frame called
    sampled_stack_bytes: int  # of each thread's stack, copied for a sample of a recording
    # Build id and file name to the path of its debug file: asked while the target runs.
    fetch: Callable[[str, str], str | None] | None

class RawThread(TypedDict):
    tid: int | None  # in the tool's pid namespace
    namespace_tid: int | None  # in the target's, where it differs
    python_thread_id: int | None  # threading.get_ident(), the pthread_t
    interpreter_id: int | None  # both None: not known to any interpreter
    name: str | None  # threading.Thread.name
    kernel_name: str | None
    is_main: bool | None
    run_state: str | None  # one letter of /proc/PID/stat
    gil: GilState | None  # None: cannot be known
    gc_collecting: bool | None
    raising: str | None  # type name of the exception being raised
    handling: str | None  # type name of the exception being handled
    stack_end: StackEnd
    stack_problem: str | None  # one sentence when stack_end is not "complete"
    frames: list[RawFrame | RawNativeFrame | RawGap]  # outermost first

class RawInterpreter(TypedDict):
    id: int
    gc_collecting: bool | None
    finalizing: bool | None

class RawSnapshot(TypedDict):
    pid: int
    namespace_pid: int | None  # where the target's pid namespace is not ours
    executable: str | None
    command: list[str] | None  # argv
    version: str  # "3.13.5", "3.15.0b1"
    free_threaded: bool
    debug: bool
    time_ns: int  # realtime clock
    stopped: bool  # whether the target was stopped for reading
    stop_ns: int | None  # from the first stop request to the last release; None when not stopped
    was_stopped: bool  # the target was already stopped (SIGSTOP) and was left so
    attempts: int  # non-stop: reads until every thread was proved or given up
    interpreters: list[RawInterpreter]
    threads: list[RawThread]
    problems: list[str]  # what could not be read, one sentence each

    core: RawCore | None  # only of core files

class RawCoreModule(TypedDict):
    path: str  # as the core names it
    begin: int
    end: int
    status: Literal["found", "missing", "mismatched"]
    found_path: str | None
    core_build_id: str | None
    file_build_id: str | None

class RawCore(TypedDict):
    cause: str  # one sentence: the signal by name and code, with address or sender
    signal: int | None
    signal_name: str | None
    signal_code: str | None
    fault_address: int | None
    sender_pid: int | None
    sender_uid: int | None
    terminating_tid: int | None
    stack_overflow: bool
    ppid: int | None
    pgrp: int | None
    sid: int | None
    uid: int | None
    gid: int | None
    nice: int | None
    state: str | None
    written_ns: int  # realtime clock
    arguments_cut: bool  # the command is the first 79 bytes of the arguments
    truncated: bool
    missing_bytes: int
    modules: list[RawCoreModule]

def dump_live(
    pid: int,
    *,
    stop: bool = True,
    exhaustive: bool = False,
    locals: RawLocals | None = None,
    native: RawNative | None = None,
) -> RawSnapshot: ...
def dump_core(
    path: str,
    *,
    executable: str | None = None,
    library_folders: list[str] = [],
    library_root: str | None = None,
    exhaustive: bool = False,
    locals: RawLocals | None = None,
    native: RawNative | None = None,
) -> RawSnapshot: ...

class Batch:
    """Samples since the last batch, as columns, and the table rows that are new in it.

    Columns are read-only memoryviews that own their memory. Ids index the tables from the sampler's start;
    string 0 is "", stack 0 is the empty stack (parent 0, frame 0: not a row to follow).

    Where the interpreter says which asyncio task a thread runs (3.14+), a marker frame "<task NAME>" is below
    the task's outermost coroutine; "<other tasks>" when there are more than 1,000 names.
    """

    # One element a row: equal samples of a thread, one after the other without a gap.
    @property
    def time_ns(self) -> Sequence[int]: ...  # CLOCK_MONOTONIC at the read of the last one, uint64
    @property
    def weight_ns(self) -> Sequence[int]: ...  # time since the thread's previous row, uint64
    @property
    def count(self) -> Sequence[int]: ...  # samples in the row, uint32
    @property
    def thread(self) -> Sequence[int]: ...  # index into threads, uint32
    @property
    def stack(self) -> Sequence[int]: ...  # index into stacks, uint32
    @property
    def state(self) -> Sequence[int]: ...  # SampleState bits, uint8
    # New rows.
    @property
    def strings(self) -> list[str]: ...
    @property
    def frame_kind(self) -> Sequence[int]: ...  # FrameKind, uint8
    @property
    def frame_function(
        self,
    ) -> Sequence[int]: ...  # string id of the qualname, or co_name below 3.11
    @property
    def frame_file(self) -> Sequence[int]: ...  # string id
    @property
    def frame_line(self) -> Sequence[int]: ...  # int32, -1 = no line
    @property
    def frame_first_line(self) -> Sequence[int]: ...  # int32, -1 = none
    @property
    def stack_parent(self) -> Sequence[int]: ...  # uint32
    @property
    def stack_frame(self) -> Sequence[int]: ...  # uint32
    @property
    def threads(self) -> list[tuple[int, int, int, int, str]]:
        """New or changed: (index, pid, tid or 0, interpreter id, name)."""
    @property
    def finished(self) -> bool: ...  # last batch: the sampler has ended

class SamplerStats(TypedDict):
    attempted: int  # thread samples tried
    taken: int
    torn: int  # given up after the retries
    failed: int  # unreadable for another reason
    vanished: int  # the thread ended between two steps
    ticks: int  # ticks served
    late: int  # ticks served more than half an interval late
    missed: int  # ticks skipped because the sampler was behind
    elapsed_ns: int
    cpu_ns: int  # CPU time of the sampling thread
    stop_ns_total: int  # time the target was stopped, all samples together
    stop_ns_max: int
    stops: list[int]  # how many took less than 1 us, 2 us, 4 us, ...; the last: all longer ones
    partly_merged: int  # taken, but native frames are missing

class Sampler:
    """One sampling thread on one target. Opening it finds the interpreter, or raises."""

    def __init__(
        self,
        pid: int,
        *,
        rate_hz: float,
        stop: bool = False,
        exhaustive: bool = False,
        native: RawNative | None = None,  # implies stop
    ) -> None: ...
    def start(self) -> None: ...
    def next_batch(
        self, timeout_s: float
    ) -> Batch | None: ...  # None: nothing new within the timeout
    def stop(self) -> None: ...  # ends the thread, releases the target; next_batch then drains
    def stats(self) -> SamplerStats: ...
    @property
    def python_version(self) -> str: ...
    @property
    def end_reason(self) -> Literal["running", "stopped", "target_exited", "failed"]: ...
    @property
    def error(self) -> str | None: ...

class SampleState:
    """Bits of Batch.state."""

    HOLDS_GIL: int  # 1
    WAITS_FOR_GIL: int  # 2
    ON_CPU: int  # 4
    GC: int  # 8
    CPU_KNOWN: int  # 16: the ON_CPU bit was measured
    GIL_KNOWN: int  # 32
