"""The line above a stack: its threads and their state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pystack.model import Snapshot, Thread
from pystack.render.escape import escape
from pystack.render.terminal import Palette
from pystack.render.text_options import TextOptions
from pystack.render.waits import WaitText
from pystack.render.watched import unmoved_text
from pystack.render.words import base_name, run_state, short_name, thread_name, with_namespace

_MAX_LISTED = 8
# Not worth showing: a GIL holder runs, and a GIL waiter sleeps.
_EXPECTED_RUN_STATE = {"holds": "R", "waits": "S"}


class ThreadHeads:
    """Makes the heads of one snapshot's threads."""

    def __init__(
        self, snapshot: Snapshot, palette: Palette, options: TextOptions, waits: WaitText
    ) -> None:
        self._waits = waits
        self._snapshot = snapshot
        self._palette = palette
        self._options = options
        # Interpreters may share a GIL or have one each, so holder and waiter are matched only
        # within one interpreter.
        self._gil_holder = {
            thread.interpreter_id: thread for thread in snapshot.threads if thread.gil == "holds"
        }
        # A thread without a kernel name of its own inherits that of the main thread.
        main = [thread.kernel_name for thread in snapshot.threads if thread.is_main]
        self._main_kernel_name = main[0] if main else None
        self._program_names = _program_names(snapshot)
        self._dead_tid = None if snapshot.core is None else snapshot.core.terminating_tid

    def line(self, group: Sequence[Thread]) -> str:
        """For one thread, or for several with the same stack and state."""
        first = group[0]
        shown = group if self._options.full else group[:_MAX_LISTED]
        rest = [f"{len(group) - len(shown)} more"] if len(shown) < len(group) else []
        ids = [
            "without an OS thread" if t.tid is None else with_namespace(t.tid, t.namespace_tid)
            for t in shown
        ]
        words = [("Thread " if len(group) == 1 else "Threads ") + ", ".join(ids + rest)]
        names = [f'"{escape(name)}"' for t in shown if (name := thread_name(t)) is not None]
        if names:
            words.append(", ".join(names))
        if len(group) == 1 and self._is_kernel_name_telling(first):
            words.append(f'(kernel name "{escape(first.kernel_name or "")}")')
        head = self._palette.paint(self._palette.head, " ".join(words))
        states = ", ".join(self._states(first, group[1:]))
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

    def _states(self, thread: Thread, others: Sequence[Thread]) -> Iterator[str]:
        palette = self._palette
        if thread.interpreter_id is None and self._snapshot.interpreters:
            yield "not a Python thread"
        elif len(self._snapshot.interpreters) > 1:
            yield f"interpreter {thread.interpreter_id}"
        core = self._snapshot.core
        if core is not None and self._dead_tid is not None and thread.tid == self._dead_tid:
            signal = core.signal_name or "the signal"
            yield palette.paint(palette.bad, f"received {escape(signal)}")
        if thread.gil == "holds":
            yield palette.paint(palette.good, "holds the GIL")
        elif thread.gil == "dropping":
            yield palette.paint(palette.waiting, "dropping the GIL")
        elif thread.gil == "waits":
            holder = self._gil_holder.get(thread.interpreter_id)
            by = "" if holder is None else f", held by {short_name(holder)}"
            yield palette.paint(palette.waiting, f"waiting for the GIL{by}")
        waits_for = self._waits.text(thread, others)
        if waits_for is not None:
            yield palette.paint(palette.waiting, waits_for)
        if thread.gc_collecting:
            yield palette.paint(palette.waiting, "collecting garbage")
        if thread.raising is not None:
            yield palette.paint(palette.bad, f"raising {escape(thread.raising)}")
        if thread.handling is not None:
            yield f"handling {escape(thread.handling)}"
        unmoved = [one.unmoved for one in (thread, *others) if one.unmoved is not None]
        if unmoved:
            yield palette.paint(palette.waiting, unmoved_text(unmoved))
        state = thread.run_state
        # A stopped process is reported once, at the top.
        if state is None or (state == "T" and self._snapshot.was_stopped):
            return
        if state == "S" and waits_for is not None:
            return
        if state != _EXPECTED_RUN_STATE.get(thread.gil or ""):
            yield run_state(state)


def _program_names(snapshot: Snapshot) -> set[str]:
    """Kernel names that the main thread has by default: the interpreter's or the script's."""
    paths = (snapshot.executable or "", *(snapshot.command or ())[:2])
    return {base_name(path)[:15] for path in paths}
