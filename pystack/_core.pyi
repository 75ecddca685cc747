"""The Python interface of the C++ core. The public types are in `pystack.model`.

Every error is converted by `pystack.errors.from_code`, so callers see the classes of `pystack.errors`.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

from pystack import literals
from pystack.literals import (
    GilState,
    HolderProof,
    ModuleStatus,
    StackEnd,
    TaskLibrary,
    TaskState,
    TaskWaitKind,
    VariableKind,
)

class RawVariable(TypedDict):
    name: str
    kind: VariableKind
    value: str | None  # None: redacted
    type: str | None  # the value's class, with its module
    redacted: bool

class RawLocals(TypedDict):
    """Limits and redaction rules for variables."""

    max_depth: int
    max_items: int
    max_string: int
    max_bytes: int  # per thread
    redact: list[str]  # parts of names, ignoring case
    redact_words: list[str]  # whole words of names
    redact_text: bool  # hide secrets inside strings

class RawForeignFrame(TypedDict, total=False):
    interpreter_id: int  # present only if it is not the thread's

class RawFrame(RawForeignFrame):
    kind: Literal["python"]
    function: str  # co_name
    qualname: str | None  # co_qualname; None below 3.11
    file: str  # co_filename as the target has it
    line: int | None  # 1-based; None if the line table says "no line"
    end_line: int | None
    column: int | None  # 0-based UTF-8 byte offset, as in co_positions(); 3.11+
    end_column: int | None
    first_line: int  # co_firstlineno
    variables: list[RawVariable] | None  # None: not requested
    variables_omitted: int  # how many were left out
    variables_problem: str | None

class RawNativeFrame(TypedDict):
    kind: Literal["native"]
    function: str  # short; module+0xoffset without a symbol
    python_name: str | None  # from the tables of the interpreter
    signature: str  # with parameters
    symbol: str | None  # mangled
    name_source: literals.NameSource
    file: str | None
    line: int | None
    module: str | None  # path; None for code that is not in a file
    build_id: str | None
    offset: int  # of the next instruction, as in the module's headers
    address: int  # of the same instruction in the target
    is_inlined: bool
    is_plumbing: bool
    is_guess: bool

class RawGap(TypedDict):
    kind: Literal["gap"]
    reason: str

class RawNative(TypedDict):
    """Which native frames to read."""

    all_threads: bool  # include threads that no interpreter knows
    last_only: bool  # only frames below the innermost Python frame
    sampled_stack_bytes: int  # copied of each thread's stack per sample of a recording
    # From build ID and file name to the path of the debug file; called while the target runs.
    fetch: Callable[[str, str], str | None] | None

class RawHolder(TypedDict):
    tid: int | None
    python_thread_id: int | None
    proof: HolderProof
    file: str | None
    line: int | None
    task: int | None  # RawTask["id"]

class RawProcessName(TypedDict):
    pid: int
    command: str | None

class RawPeerWait(TypedDict):
    pid: int
    command: str | None
    kind: Literal["pipe", "socket", "process"]
    enders: list[int]

class RawWait(TypedDict):
    kind: str  # a word of cpp/model/wait.h
    call: str | None
    address: int | None
    type: str | None
    name: str | None
    is_timed: bool
    left_ns: int | None
    timeout_ns: int | None
    fd: int | None
    file_count: int | None
    target: str | None
    pid: int | None
    command: str | None
    kernel_function: str | None
    kernel_stack: list[str]
    other_ends: list[RawProcessName]
    pool_processes: list[RawProcessName]
    peer_wait: str | None
    process_circle: list[RawPeerWait]
    holders: list[RawHolder]

class RawEventLoop(TypedDict):
    id: int  # its address
    type: str | None
    running_task: int | None  # RawTask["id"]
    busy_s: float | None

class RawTaskWait(TypedDict):
    kind: TaskWaitKind
    id: int | None  # address of the object
    type: str | None
    holders: list[int]  # RawTask["id"]
    remaining_s: float | None  # of a sleep in a live process
    may_time_out: bool
    pid: int | None  # of a child process
    target: str | None  # whom a stream is connected to

class RawTask(TypedDict):
    library: TaskLibrary
    id: int  # its address
    interpreter_id: int
    name: str | None
    state: TaskState | None
    loop: int | None  # RawEventLoop["id"]
    python_thread_id: int | None  # RawThread["python_thread_id"], of a greenlet
    waits_for: RawTaskWait | None
    awaited_by: list[int]  # RawTask["id"]
    problem: str | None  # why frames may be missing
    frames: list[RawFrame | RawNativeFrame | RawGap]  # outermost first; equal ones are one object

class RawThread(TypedDict):
    tid: int | None  # in the tool's pid namespace
    namespace_tid: int | None  # in the target's pid namespace, if it differs
    python_thread_id: int | None  # threading.get_ident(), the pthread_t
    interpreter_id: int | None  # both None: not known to any interpreter
    name: str | None  # threading.Thread.name
    kernel_name: str | None
    is_main: bool | None
    run_state: str | None  # the letter in /proc/PID/stat
    gil: GilState | None  # None: unknown
    waits_for: RawWait | None
    gc_collecting: bool | None
    raising: str | None  # type name of the exception being raised
    handling: str | None  # type name of the exception being handled
    stack_end: StackEnd
    stack_problem: str | None  # one sentence, if stack_end is not "complete"
    frames: list[RawFrame | RawNativeFrame | RawGap]  # outermost first
    event_loop: RawEventLoop | None  # the asyncio loop that is running in it

class RawInterpreter(TypedDict):
    id: int
    gc_collecting: bool | None
    finalizing: bool | None

class RawSnapshot(TypedDict):
    pid: int
    namespace_pid: int | None  # if the target's pid namespace is not the tool's
    executable: str | None
    command: list[str] | None  # argv
    version: str  # "3.13.5", "3.15.0b1"
    free_threaded: bool
    debug: bool
    time_ns: int  # realtime clock
    stopped: bool  # whether the target was stopped while it was read
    stop_ns: int | None  # from the first stop request to the last release; None if not stopped
    was_stopped: bool  # the target was already stopped (SIGSTOP) and stays stopped
    attempts: int  # without stopping: reads until every thread was proved or given up
    interpreters: list[RawInterpreter]
    threads: list[RawThread]
    deadlocks: list[list[int]]  # indexes into threads
    task_deadlocks: list[list[int]]  # RawTask["id"]
    tasks: (
        list[RawTask] | None
    )  # the asyncio tasks that are not done; None: not requested or not read
    problems: list[str]  # what is missing, one sentence each

    core: RawCore | None  # for core files only

class RawCoreModule(TypedDict):
    path: str  # as the core names it
    begin: int
    end: int
    status: ModuleStatus
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
    written_by: int | None  # the only user who can have written the file
    arguments_cut: bool  # the command is the first 79 bytes of the arguments
    truncated: bool
    missing_bytes: int
    modules: list[RawCoreModule]

def dump_live(
    pid: int,
    *,
    stop: bool = True,
    exhaustive: bool = False,
    tasks: bool = True,
    locals: RawLocals | None = None,
    native: RawNative | None = None,
    native_without_python: RawNative | None = None,  # what to read if there is no interpreter
    raise_priority: bool = True,
    max_memory: int | None = None,  # bytes for data whose size the target chooses; None: 256 MiB
    cancelled: Callable[[], bool] | None = None,  # called many times per second
) -> RawSnapshot: ...
def dump_core(
    path: str,
    *,
    executable: str | None = None,
    library_folders: list[str] = [],
    library_root: str | None = None,
    original: str | None = None,  # the compressed file that `path` was unpacked from
    exhaustive: bool = False,
    tasks: bool = True,
    locals: RawLocals | None = None,
    native: RawNative | None = None,
    native_without_python: RawNative | None = None,
    max_memory: int | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> RawSnapshot: ...

class Files:
    """Opens files whose names the tool's user did not choose.

    Only regular files on real file systems are opened, below the root and with the rights of whoever
    chose the name.
    """

    def open(self, path: bytes) -> int: ...  # returns a descriptor for reading; raises OSError

def process_files(pid: int) -> Files: ...  # raises OSError; call it before the names are read
def core_files(written_by: int | None, uid: int | None) -> Files: ...  # both are in RawCore
def folder_files(folder: str) -> Files: ...  # below the folder, with the caller's rights

class Batch:
    """Samples since the last batch, as columns, and the new rows of the tables.

    Columns are read-only memoryviews that own their memory. IDs index the tables since the sampler's
    start. String 0 is ""; stack 0 is the empty stack, whose parent and frame must not be followed.

    If the interpreter says which asyncio task a thread runs (3.14+), a marker frame "<task NAME>" is
    below the task's outermost coroutine, or "<other tasks>" beyond 1,000 names.
    """

    # One element per row. A row is a sequence of equal samples of a thread without a gap.
    @property
    def time_ns(self) -> Sequence[int]: ...  # CLOCK_MONOTONIC: until then the row speaks, uint64
    @property
    def weight_ns(
        self,
    ) -> Sequence[int]: ...  # time since the thread's previous row, at most a few intervals; uint64
    @property
    def count(self) -> Sequence[int]: ...  # samples in the row, uint32
    @property
    def thread(self) -> Sequence[int]: ...  # index into threads, uint32
    @property
    def stack(self) -> Sequence[int]: ...  # index into stacks, uint32
    @property
    def state(self) -> Sequence[int]: ...  # SampleState bits, uint8
    @property
    def wait(self) -> Sequence[int]: ...  # index into waits; 0: none, or not known; uint32
    # How the kernel divides the time in which the thread was found running (ON_CPU), uint64. The sums are
    # exact; of a single row it may be more than the weight.
    @property
    def cpu_ns(self) -> Sequence[int]: ...  # on a CPU
    @property
    def runnable_ns(self) -> Sequence[int]: ...  # waited for a CPU
    @property
    def late_cpu(self) -> list[tuple[int, int, int]]:
        """Threads that ran, but not at a sample of this batch: (thread, CPU ns, runnable ns)."""
    # New rows.
    @property
    def strings(self) -> list[str]: ...
    @property
    def frame_kind(self) -> Sequence[int]: ...  # FrameKind, uint8
    @property
    def frame_function(
        self,
    ) -> Sequence[int]: ...  # string ID of the qualname, or co_name below 3.11
    @property
    def frame_file(self) -> Sequence[int]: ...  # string ID
    @property
    def frame_line(self) -> Sequence[int]: ...  # int32, -1 = no line
    @property
    def frame_first_line(self) -> Sequence[int]: ...  # int32, -1 = none
    # Of native frames; else 0.
    @property
    def frame_module(self) -> Sequence[int]: ...  # string ID of the path of its file; "" = none
    @property
    def frame_build_id(
        self,
    ) -> Sequence[int]: ...  # string ID of that file's, hexadecimal; "" = none
    @property
    def frame_address(self) -> Sequence[int]: ...  # in that file, else in memory; uint64
    @property
    def frame_inline_depth(self) -> Sequence[int]: ...  # 0: the function itself, uint8
    @property
    def frame_name_source(self) -> Sequence[int]: ...  # NameSource, uint8
    @property
    def stack_parent(self) -> Sequence[int]: ...  # uint32
    @property
    def stack_frame(self) -> Sequence[int]: ...  # uint32
    # What threads wait for. Row 0 must not be followed.
    @property
    def wait_kind(self) -> Sequence[int]: ...  # index into WAIT_KINDS, uint8
    @property
    def wait_type(self) -> Sequence[int]: ...  # string ID of the object's class; "" = none
    @property
    def wait_name(self) -> Sequence[int]: ...  # string ID: where the object is kept, the peer of a
    # socket, a path, the command of a child; "" = not known
    @property
    def wait_holder(self) -> Sequence[int]: ...  # index into threads, plus 1; 0 = not known
    @property
    def threads(self) -> list[tuple[int, int, int, int, str, bool]]:
        """New or changed: (index, pid, tid or 0, interpreter ID, name, whether it is a row of tasks)."""
    @property
    def stats(self) -> SamplerStats: ...  # counts since the last batch
    @property
    def finished(self) -> bool: ...  # the last batch: the sampler has ended
    @property
    def ends_tables(
        self,
    ) -> bool: ...  # the next batch begins empty tables: see Sampler.renew_tables

class SamplerStats(TypedDict):
    """What happened in a stretch of time. The list is `for_each_count` in cpp/model/sample.h."""

    attempted: int  # thread samples tried
    taken: int
    torn: int  # not consistent after all retries
    failed: int  # unreadable for another reason
    vanished: int  # the thread ended while it was sampled
    given_up: int  # ticks whose samples failed because the stop took too long
    ticks: int  # ticks served
    late: int  # ticks served more than half an interval late
    missed: int  # ticks skipped because the sampler was behind or throttled
    throttled: int  # of the missed ticks: sampling had used its share of a CPU
    pause_limited: int  # of the missed ticks: threads had been stopped for their share of the time
    stopped: int  # taken, with the thread stopped because its stack could not be proved
    not_sampled_ns: int  # time for which no sample stands: the sampler had no CPU, or there was no Python thread
    elapsed_ns: int
    cpu_ns: int  # CPU time of the sampling thread
    stop_ns_total: int  # total time that threads were stopped, each stop counted
    stop_ns_max: int
    stops: list[int]  # histogram: less than 1 us, 2 us, 4 us, ...; the last: all longer ones
    partly_merged: int  # taken, but without some native frames
    guessed_order: int  # taken, but which of the thread's interpreters called which is a guess
    task_samples: int  # of tasks; not among those of threads
    tasks_unproved: int  # samples of tasks that moved while they were read
    tasks_left_out: int  # samples of tasks beyond those that are followed at a time
    maps_left_out: int  # 1, once: the target has too many or too long mappings or mapped files

# How the counts of two stretches of time become those of both, by name.
STATS_MERGES: dict[str, Literal["sum", "maximum", "histogram"]]

class Sampler:
    """One sampling thread for one target. The constructor finds the interpreter, or raises."""

    def __init__(
        self,
        pid: int,
        *,
        rate_hz: float,
        stop: bool | None = False,  # None: only threads whose stacks cannot be proved
        exhaustive: bool = False,
        native: RawNative | None = None,  # implies stop
        tasks: bool = False,  # samples of suspended tasks as well
        raise_priority: bool = True,  # only if the caller has normal priority
        max_cpu_share: float = 1.0,  # of one CPU, for the sampling thread; 1: no limit
        max_pause_share: float = 1.0,  # of the time, for stopped threads; 1: no limit
        max_memory: int | None = None,
        cancelled: Callable[[], bool] | None = None,  # called until the constructor returns
    ) -> None: ...
    def start(self) -> None: ...
    def next_batch(
        self, timeout_s: float
    ) -> Batch | None: ...  # None: no samples and no counts within the timeout
    def stop(self) -> None: ...  # ends the thread, releases the target; then next_batch drains
    def renew_tables(self) -> None:
        """Asks for empty tables, so that memory does not grow for as long as the recording lasts.

        A batch with `ends_tables` comes soon, unless the sampler ends first. IDs in later batches,
        those of threads included, count from 0 again. No time is between the two.
        """

    def set_max_cpu_share(self, share: float) -> None: ...  # from the next sample on
    @property
    def python_version(self) -> str: ...
    @property
    def other_interpreters(
        self,
    ) -> list[str]: ...  # "CPython 3.13.5 (file)": loaded beside the one that is sampled
    @property
    def end_reason(self) -> Literal["running", "stopped", "target_exited", "failed"]: ...
    @property
    def error(self) -> str | None: ...

class SampleState:
    """Bits of Batch.state."""

    HOLDS_GIL: int
    WAITS_FOR_GIL: int
    ON_CPU: int
    GC: int
    CPU_KNOWN: int  # the ON_CPU bit was measured
    GIL_KNOWN: int

WAIT_KINDS: tuple[str, ...]  # the words of `pystack.waits.WaitKind`
NO_INTERPRETER: int  # interpreter ID of a thread that no interpreter knows

class NameSource:
    """Values of Batch.frame_name_source."""

    NONE: int  # the function is its module and address
    DEBUG_INFO: int
    SYMBOLS: int
    METHOD_TABLE: int  # the interpreter's tables of functions: the name is that in Python
    PERF_MAP: int  # the process's own file about code that it made at run time

class FrameKind:
    """Values of Batch.frame_kind."""

    PYTHON: int
    NATIVE: int
    MARKER: int  # not a function, for example a task or what was left out
    GAP: int  # not in recordings, which have markers instead
