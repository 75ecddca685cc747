"""A snapshot as the text that readers of tracebacks expect: most recent call last.

`File "...", line N, in NAME` is kept to the letter, because editors and terminals link it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from pystack.model import (
    AnyFrame,
    CoreDetails,
    CoreModule,
    Frame,
    Gap,
    NativeFrame,
    Snapshot,
    Thread,
)
from pystack.render.escape import display_width, escape, quote_command
from pystack.render.folding import fold_frames, group_threads
from pystack.render.native import gap_line, native_line, without_plumbing
from pystack.render.source import MarkedLine, SourceReader, mark
from pystack.render.terminal import COLOURS, PLAIN, Palette

_MAX_COMMAND_CHARS = 120
_MAX_LISTED = 8
_MAX_REFUSED = 4

_RUN_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "in an uninterruptible wait",
    "T": "stopped",
    "t": "stopped by a tracer",
    "Z": "ended",
    "X": "ended",
    "I": "idle",
}
# What goes without saying: who holds the GIL runs, who waits for it sleeps.
_EXPECTED_RUN_STATE = {"holds": "R", "waits": "S"}

_CUTS = {
    "torn": "the stack could not be proved consistent",
    "unreadable": "a frame could not be read",
    "depth_limit": "it is deeper than the reader goes",
}


def render_text(
    snapshot: Snapshot,
    *,
    color: bool = False,
    group: bool = True,
    full: bool = False,
    plumbing: bool = False,
    signatures: bool = False,
    sources: SourceReader | None = None,
) -> Iterator[str]:
    """Gives the lines, without their ends.

    Args:
        snapshot: What to show.
        color: Use escape sequences of the terminal.
        group: Show idle threads with the same stack and state once.
        full: Neither fold repeated frames nor cut long lines and values.
        plumbing: Show the native frames of the interpreter's machinery, too.
        signatures: Show native functions with parameters and template arguments.
        sources: Where source lines come from; None leaves them out.
    """
    palette = COLOURS if color else PLAIN
    writer = _Writer(snapshot, palette, group, full, sources)
    writer.shows_plumbing, writer.shows_signatures = plumbing, signatures
    return writer.lines()


class _Writer:
    def __init__(
        self,
        snapshot: Snapshot,
        palette: Palette,
        group: bool,
        full: bool,
        sources: SourceReader | None,
    ) -> None:
        self._snapshot = snapshot
        self._palette = palette
        self._group = group
        self._full = full
        self._sources = sources
        self.shows_plumbing = False
        self.shows_signatures = False
        self._told_changed: set[str] = set()
        # A GIL belongs to an interpreter, or to all of them: whose holder is whose is certain only
        # within one.
        self._gil_holder = {
            thread.interpreter_id: thread for thread in snapshot.threads if thread.gil == "holds"
        }
        # Threads that nobody named for the kernel have the name of the main thread.
        main = [thread.kernel_name for thread in snapshot.threads if thread.is_main]
        self._main_kernel_name = main[0] if main else None
        self._program_names = _program_names(snapshot)
        self._changed_source = (
            "source changed since the process started: it may run other lines than these"
            if snapshot.core is None
            else "source changed since the core was written: it may have run other lines than these"
        )
        self._dead_tid = None if snapshot.core is None else snapshot.core.terminating_tid

    def lines(self) -> Iterator[str]:
        snapshot = self._snapshot
        core = snapshot.core
        yield self._header()
        if core is not None:
            yield from self._core_notes(core)
            yield from self._problems()
        yield from self._notes()
        # Of a crash, the thread that crashed is what everybody wants to see.
        threads = sorted(snapshot.threads, key=lambda thread: not self._is_dead(thread))
        groups = (
            group_threads(threads, self._dead_tid)
            if self._group
            else [[thread] for thread in threads]
        )
        for group in groups:
            yield ""
            yield self._thread_head(group)
            yield from self._stack(group[0])
        if core is None and snapshot.problems:
            yield ""
            yield from self._problems()

    # The whole process.

    def _header(self) -> str:
        snapshot = self._snapshot
        flavour = ["free-threaded"] if snapshot.free_threaded else []
        if snapshot.debug:
            flavour.append("debug")
        parts = [
            f"CPython {escape(snapshot.version)}" + (f" ({', '.join(flavour)})" if flavour else ""),
            self._command(),
            _count(len(snapshot.threads), "thread"),
        ]
        if len(snapshot.interpreters) > 1:
            parts.append(_count(len(snapshot.interpreters), "interpreter"))
        if snapshot.core is None:
            parts.append(self._how_read())
            head = f"Process {_with_namespace(snapshot.pid, snapshot.namespace_pid)}:"
        else:
            process = f"process {snapshot.pid}" if snapshot.pid else "an unknown process"
            head = f"Core {escape(snapshot.core.path)} of {process}:"
        return f"{self._paint(self._palette.head, head)} {', '.join(parts)}"

    def _command(self) -> str:
        snapshot = self._snapshot
        words = snapshot.command or ((snapshot.executable,) if snapshot.executable else ())
        command = quote_command(words) or "command unknown"
        if not self._full and len(command) > _MAX_COMMAND_CHARS:
            command = command[: _MAX_COMMAND_CHARS - 3] + "..."
        elif snapshot.core is not None and snapshot.core.arguments_cut:
            command += " ..."
        return command

    def _how_read(self) -> str:
        snapshot = self._snapshot
        if not snapshot.stopped:
            return "read without stopping it"
        if snapshot.stop_ns is None:
            return "stopped for reading"
        return f"stopped for {_duration(snapshot.stop_ns)}"

    def _notes(self) -> Iterator[str]:
        snapshot = self._snapshot
        if snapshot.was_stopped:
            yield "It was stopped before (as by SIGSTOP), and was left so."
        collecting = {thread.interpreter_id for thread in snapshot.threads if thread.gc_collecting}
        for interpreter in snapshot.interpreters:
            name = "It" if len(snapshot.interpreters) == 1 else f"Interpreter {interpreter.id}"
            verb = "is" if snapshot.core is None else "was"
            if interpreter.finalizing:
                yield f"{name} {verb} shutting down: threads may be missing."
            if interpreter.gc_collecting and interpreter.id not in collecting:
                yield f"{name} {verb} collecting garbage."

    def _problems(self) -> Iterator[str]:
        for problem in self._snapshot.problems:
            yield self._paint(self._palette.bad, f"Not read: {escape(problem)}")

    # What only a core says.

    def _core_notes(self, core: CoreDetails) -> Iterator[str]:
        cause = f"Cause: {escape(core.cause)}"
        yield self._paint(self._palette.bad, cause) if core.signal is not None else cause
        if core.terminating_tid is not None and not any(map(self._is_dead, self._snapshot.threads)):
            yield f"It was received by thread {core.terminating_tid}, which is not known to Python."
        yield f"Process: {', '.join(_process_facts(core))}"
        if self._snapshot.executable is not None:
            yield f"Executable: {escape(self._snapshot.executable)}"
        yield f"Written: {_local_time(core.written_ns)}"
        yield from self._module_notes(core)

    def _module_notes(self, core: CoreDetails) -> Iterator[str]:
        refused = _by_weight(core, "mismatched")
        shown = refused if self._full else refused[:_MAX_REFUSED]
        for module in shown:
            yield self._paint(
                self._palette.waiting,
                f"Not used: {escape(module.found_path or module.path)}, which has"
                f" {_build_id(module.file_build_id)}; the core was made with"
                f" {_build_id(module.core_build_id)}",
            )
        rest = len(refused) - len(shown)
        if rest:
            yield f"Not used either: {_count(rest, 'other file')} of other builds (-v lists them)"
        missing = [escape(_base_name(module.path)) for module in _by_weight(core, "missing")]
        if missing:
            names = missing if self._full else missing[:_MAX_REFUSED]
            more = len(missing) - len(names)
            listed = ", ".join(names + ([f"{more} more"] if more else []))
            yield (
                f"Missing: {len(missing)} of {_count(len(core.modules), 'mapped file')}:"
                f" {listed} (-v lists them)"
            )

    def _is_dead(self, thread: Thread) -> bool:
        return self._dead_tid is not None and thread.tid == self._dead_tid

    # One thread, or several alike.

    def _thread_head(self, group: Sequence[Thread]) -> str:
        first = group[0]
        shown = group if self._full else group[:_MAX_LISTED]
        rest = [f"{len(group) - len(shown)} more"] if len(shown) < len(group) else []
        ids = [
            "without a system thread" if t.tid is None else _with_namespace(t.tid, t.namespace_tid)
            for t in shown
        ]
        words = [("Thread " if len(group) == 1 else "Threads ") + ", ".join(ids + rest)]
        names = [f'"{escape(name)}"' for t in shown if (name := _known_name(t)) is not None]
        if names:
            words.append(", ".join(names))
        if len(group) == 1 and self._is_kernel_name_telling(first):
            words.append(f'(kernel name "{escape(first.kernel_name or "")}")')
        head = self._paint(self._palette.head, " ".join(words))
        states = ", ".join(self._states(first))
        order = "most recent call last"
        if len(group) > 1:
            order = f"{len(group)} threads, {order}"
        return f"{head}{f' [{states}]' if states else ''} ({order}):"

    def _is_kernel_name_telling(self, thread: Thread) -> bool:
        kernel_name = thread.kernel_name
        if thread.name is None or not kernel_name or kernel_name in self._program_names:
            return False
        if kernel_name == self._main_kernel_name and not thread.is_main:
            return False
        python_name = thread.name.encode("utf-8", "surrogateescape")
        return not python_name.startswith(kernel_name.encode("utf-8", "surrogateescape"))

    def _states(self, thread: Thread) -> Iterator[str]:
        palette = self._palette
        if thread.interpreter_id is None:
            yield "not known to Python"
        elif len(self._snapshot.interpreters) > 1:
            yield f"interpreter {thread.interpreter_id}"
        core = self._snapshot.core
        if core is not None and self._is_dead(thread):
            signal = core.signal_name or "the signal"
            yield self._paint(palette.bad, f"received {escape(signal)}")
        if thread.gil == "holds":
            yield self._paint(palette.good, "holds the GIL")
        elif thread.gil == "dropping":
            yield self._paint(palette.waiting, "dropping the GIL")
        elif thread.gil == "waits":
            holder = self._gil_holder.get(thread.interpreter_id)
            by = "" if holder is None else f", held by {_short_name(holder)}"
            yield self._paint(palette.waiting, f"waiting for the GIL{by}")
        if thread.gc_collecting:
            yield self._paint(palette.waiting, "collecting garbage")
        if thread.raising is not None:
            yield self._paint(palette.bad, f"raising {escape(thread.raising)}")
        if thread.handling is not None:
            yield f"handling {escape(thread.handling)}"
        state = thread.run_state
        # Stopped threads of a stopped process are told of once, at the top.
        if state is None or (state == "T" and self._snapshot.was_stopped):
            return
        if state != _EXPECTED_RUN_STATE.get(thread.gil or ""):
            yield _RUN_STATES.get(state, f"state {escape(state)}")

    # Its stack.

    def _stack(self, thread: Thread) -> Iterator[str]:
        frames: Sequence[AnyFrame] = thread.frames
        if not self.shows_plumbing:
            frames = without_plumbing(frames)
        if thread.interpreter_id is None:
            if not frames:
                yield self._remark("no frames but those that every thread begins with")
        elif thread.stack_end == "no_python":
            yield self._remark(thread.stack_problem or "no Python frames: it runs no Python code")
        elif thread.stack_end != "complete":
            problem = thread.stack_problem or _CUTS.get(thread.stack_end, thread.stack_end)
            yield self._paint(self._palette.bad, f"  [stack cut here: {escape(problem)}]")
        elif not frames:
            yield self._remark("no Python frames")
        if self._full:
            for frame in frames:
                yield from self._frame(frame)
            return
        for run in fold_frames(frames):
            for frame in run.frames:
                yield from self._frame(frame)
            if run.repeats:
                what = "line" if len(set(run.frames)) == 1 else f"{len(run.frames)} frames"
                times = _count(run.repeats, "more time")
                yield f"  [Previous {what} repeated {times}]"

    def _remark(self, text: str) -> str:
        return self._paint(self._palette.dim, f"  ({escape(text)})")

    def _frame(self, frame: AnyFrame) -> Iterator[str]:
        if isinstance(frame, NativeFrame):
            yield native_line(frame, self._palette, signatures=self.shows_signatures)
            return
        if isinstance(frame, Gap):
            yield gap_line(frame, self._palette)
            return
        file = escape(frame.file)
        name = self._paint(self._palette.name, escape(frame.name))
        line = "?" if frame.line is None else frame.line
        where = "" if frame.interpreter_id is None else f" (interpreter {frame.interpreter_id})"
        yield f'  File "{file}", line {line}, in {name}{where}'
        yield from self._source(frame)
        yield from self._variables(frame)

    def _variables(self, frame: Frame) -> Iterator[str]:
        if frame.variables is None:
            return
        from pystack.render.variables import variable_lines

        yield from variable_lines(frame, self._palette, full=self._full)

    def _source(self, frame: Frame) -> Iterator[str]:
        if self._sources is None or frame.line is None:
            return
        source = self._sources.file(frame.file)
        if source is None:
            return
        text = source.line(frame.line)
        if text is not None:
            # In a file that is another by now, the columns would mark something arbitrary.
            column = None if source.changed else frame.column
            ends_here = frame.end_line is None or frame.end_line == frame.line
            yield from self._source_line(
                mark(text, column, frame.end_column, ends_here=ends_here, full=self._full)
            )
        if source.changed and frame.file not in self._told_changed:
            self._told_changed.add(frame.file)
            yield self._paint(self._palette.waiting, f"    ({self._changed_source})")

    def _source_line(self, line: MarkedLine) -> Iterator[str]:
        before, marked, after = line
        if not (before or marked or after):
            return
        mark_colour = self._palette.mark
        yield f"    {before}{self._paint(mark_colour, marked) if marked else ''}{after}"
        if marked:
            carets = "^" * max(display_width(marked), 1)
            yield f"    {' ' * display_width(before)}{self._paint(mark_colour, carets)}"

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{self._palette.reset}" if colour else text


def _process_facts(core: CoreDetails) -> Iterator[str]:
    for name, value in (("parent", core.ppid), ("uid", core.uid), ("gid", core.gid)):
        yield f"{name} {'unknown' if value is None else value}"
    if core.state is not None:
        yield _RUN_STATES.get(core.state, f"state {escape(core.state)}")
    if core.nice:
        yield f"niceness {core.nice}"


def _by_weight(core: CoreDetails, status: str) -> list[CoreModule]:
    """The modules of one status, those that matter most first: Python's own, then the others."""
    modules = [module for module in core.modules if module.status == status]
    return sorted(modules, key=lambda module: "python" not in _base_name(module.path))


def _build_id(build_id: str | None) -> str:
    if build_id is None:
        return "an unknown build id"
    return f"build id {escape(build_id)}" if build_id else "no build id"


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]


def _local_time(time_ns: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(time_ns // 1_000_000_000))
    except (OverflowError, ValueError, OSError):  # the file's date is not to be trusted either
        return f"{time_ns / 1e9:.0f} seconds after 1970"


def _program_names(snapshot: Snapshot) -> set[str]:
    """What the kernel may call the main thread by itself: the interpreter, or its script."""
    paths = (snapshot.executable or "", *(snapshot.command or ())[:2])
    return {path.rpartition("/")[2][:15] for path in paths}


def _known_name(thread: Thread) -> str | None:
    return thread.kernel_name if thread.name is None else thread.name


def _short_name(thread: Thread) -> str:
    words = [] if thread.tid is None else [str(thread.tid)]
    name = _known_name(thread)
    if name is not None:
        words.append(f'"{escape(name)}"')
    return " ".join(words) or "another thread"


def _with_namespace(number: int, inner: int | None) -> str:
    """An id as seen here and, where that is another, as the container sees it."""
    return str(number) if inner is None else f"{number} ({inner} in its namespace)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _duration(ns: int) -> str:
    if ns < 100_000:
        return f"{ns / 1000:.0f} us"
    if ns < 10_000_000:
        return f"{ns / 1_000_000:.1f} ms"
    if ns < 1_000_000_000:
        return f"{ns / 1_000_000:.0f} ms"
    return f"{ns / 1_000_000_000:.1f} s"
