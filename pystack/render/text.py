"""A snapshot as the text that readers of tracebacks expect: most recent call last.

`File "...", line N, in NAME` is kept to the letter, because editors and terminals link it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pystack.model import Snapshot, Thread
from pystack.render.escape import escape, quote_command
from pystack.render.folding import group_threads
from pystack.render.source import SourceReader
from pystack.render.stack_text import StackText
from pystack.render.terminal import COLOURS, PLAIN
from pystack.render.text_options import TextOptions
from pystack.render.thread_heads import ThreadHeads
from pystack.render.waits import WaitText
from pystack.render.watched import watched_text
from pystack.render.words import (
    count,
    duration,
    interpreter_title,
    task_count,
    with_namespace,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack.render.tasks_text import TasksText

_MAX_COMMAND_CHARS = 120


_DEFAULTS = TextOptions()


def render_text(
    snapshot: Snapshot, options: TextOptions = _DEFAULTS, sources: SourceReader | None = None
) -> Iterator[str]:
    """Yields the lines without line ends. `sources` gives source lines; None shows none."""
    return _Writer(snapshot, options, sources).lines()


class _Writer:
    def __init__(
        self, snapshot: Snapshot, options: TextOptions, sources: SourceReader | None
    ) -> None:
        palette = COLOURS if options.color else PLAIN
        self._snapshot = snapshot
        self._options = options
        self._palette = palette
        self._waits = WaitText(snapshot)
        self._heads = ThreadHeads(snapshot, palette, options, self._waits)
        self._stacks = StackText(palette, options, sources, of_core=snapshot.core is not None)
        self._tasks: TasksText | None = None
        if snapshot.tasks or any(thread.event_loop for thread in snapshot.threads):
            from pystack.render.tasks_text import TasksText

            self._tasks = TasksText(snapshot, palette, options, self._stacks)

    def lines(self) -> Iterator[str]:
        snapshot = self._snapshot
        core = snapshot.core
        yield self._header()
        if snapshot.watched is not None:
            yield watched_text(snapshot, snapshot.watched)
        if core is not None:
            from pystack.render.core_text import core_lines

            yield from core_lines(snapshot, core, self._palette, self._options)
            yield from self._problems()
        for deadlock in self._waits.deadlocks():
            yield self._palette.paint(self._palette.bad, deadlock)
        if snapshot.task_deadlocks:
            from pystack.render.task_deadlocks import task_deadlocks

            for deadlock in task_deadlocks(snapshot):
                yield self._palette.paint(self._palette.bad, deadlock)
        yield from self._notes()
        for group in self._groups():
            yield ""
            yield self._heads.line(group)
            yield from self._stacks.lines(group[0])
            if self._tasks is not None:
                for thread in group:
                    yield from self._tasks.of_thread(thread)
        if self._tasks is not None and (lines := [*self._tasks.without_thread()]):
            yield from ["", *lines]
        if core is None and snapshot.problems:
            yield ""
            yield from self._problems()

    def _groups(self) -> list[list[Thread]]:
        core = self._snapshot.core
        dead_tid = None if core is None else core.terminating_tid
        circles = self._snapshot.deadlocks
        special = {dead_tid, *(self._snapshot.threads[i].tid for circle in circles for i in circle)}
        # In a crash, the thread that crashed matters most.
        threads = sorted(
            self._snapshot.threads, key=lambda thread: dead_tid is None or thread.tid != dead_tid
        )
        if self._options.group:
            return group_threads(threads, special)
        return [[thread] for thread in threads]

    def _header(self) -> str:
        snapshot = self._snapshot
        parts = [
            interpreter_title(snapshot),
            self._command(),
            count(len(snapshot.threads), "thread"),
        ]
        if snapshot.tasks:
            parts.append(task_count(snapshot.tasks))
        if len(snapshot.interpreters) > 1:
            parts.append(count(len(snapshot.interpreters), "interpreter"))
        if snapshot.core is None:
            parts.append(self._how_read())
            head = f"Process {with_namespace(snapshot.pid, snapshot.namespace_pid)}:"
        else:
            process = f"process {snapshot.pid}" if snapshot.pid else "an unknown process"
            head = f"Core {escape(snapshot.core.path)} of {process}:"
        return f"{self._palette.paint(self._palette.head, head)} {', '.join(parts)}"

    def _command(self) -> str:
        snapshot = self._snapshot
        words = snapshot.command or ((snapshot.executable,) if snapshot.executable else ())
        command = quote_command(words) or "command unknown"
        if not self._options.full and len(command) > _MAX_COMMAND_CHARS:
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
        return f"stopped for {duration(snapshot.stop_ns)}"

    def _notes(self) -> Iterator[str]:
        snapshot = self._snapshot
        if snapshot.was_stopped:
            yield ("The process was already stopped (for example by SIGSTOP) and stays stopped.")
        collecting = {thread.interpreter_id for thread in snapshot.threads if thread.gc_collecting}
        for interpreter in snapshot.interpreters:
            is_only = len(snapshot.interpreters) == 1
            name = "The interpreter" if is_only else f"Interpreter {interpreter.id}"
            verb = "is" if snapshot.core is None else "was"
            if interpreter.finalizing:
                yield f"{name} {verb} shutting down; threads may be missing."
            if interpreter.gc_collecting and interpreter.id not in collecting:
                yield f"{name} {verb} collecting garbage."

    def _problems(self) -> Iterator[str]:
        for problem in self._snapshot.problems:
            yield self._palette.paint(self._palette.bad, f"Warning: {escape(problem)}")
