"""The screen: draws frames with Textual, and turns keys into other selections and requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar, get_args

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.widgets import Footer

from pystack.cli.screen import kept_terminal, print_status
from pystack.errors import PystackError

from ..driver import Targets
from ..profile import Recording
from ..settings import Settings
from ..view import MODES, View
from .dialogs import LongText, Question
from .lines import (
    Line,
    Span,
    function_heading,
    function_lines,
    head_lines,
    stack_heading,
    stack_lines,
    thread_heading,
    thread_lines,
)
from .live import LiveView
from .model import Frame
from .panes import Pane
from .recording_thread import RecordingThread
from .requests import Requests
from .selection import FunctionOrder, Look, ThreadKey, ThreadOrder
from .slices import SliceLog
from .terminal_driver import TerminalDriver

_POLL_S = 0.25
_SETTLES_S = (0.1, 0.5, 2.0)  # when a resize may be over

Value = TypeVar("Value")


class TopApp(App[None]):
    CSS = """
    #head { height: auto; max-height: 10; overflow: hidden; }
    #threads { height: auto; max-height: 35%; }
    #functions { height: 1fr; }
    #stack { height: 30%; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+l", "draw_all", show=False, priority=True),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
        Binding("s", "sort", "Sort"),
        Binding("m", "mode", "Mode"),
        Binding("slash", "filter", "Filter"),
        Binding("t,enter", "thread", "Thread"),
        Binding("i", "idle", "Idle"),
        Binding("n", "native", "Native"),
        Binding("p,space", "pause", "Pause"),
        Binding("d", "dump", "Dump"),
        Binding("w", "write", "Write"),
        Binding("escape", "reset", "All"),
    ]

    def __init__(
        self,
        view: LiveView,
        requests: Requests,
        look: Look,
        is_over: Callable[[], bool] = lambda: False,
        driver_class: type[Driver] | None = None,
    ) -> None:
        """`is_over` says when to end without a key. `driver_class`: how to use the terminal; None: as Textual does."""
        super().__init__(driver_class=driver_class)
        self.animation_level = "none"
        self.selection = look.selection
        self.is_paused = False
        self.failure: Exception | None = None  # an error of ours, which ended it
        self._view = view
        self._requests = requests
        self._every_s = look.every_s
        self._is_over = is_over
        self._head = Pane(id="head", heading=False, can_choose=False)
        self._threads = Pane(id="threads")
        self._functions = Pane(id="functions")
        self._stack = Pane(id="stack")
        self._pid = 0  # the process that was asked for

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._threads
        yield self._functions
        yield self._stack
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        # Textual draws only what has changed, also on a terminal that another program used meanwhile.
        self.app_resume_signal.subscribe(self.screen, lambda _: self.action_draw_all())
        self.set_interval(self._every_s, self._tick)
        self.set_interval(_POLL_S, self._end_if_over)
        self._functions.focus()
        self.look()

    def look(self) -> None:
        """Shows what is known now."""
        try:
            self._look()
        except Exception as error:  # Textual would show the values of all variables.
            self.failure = error
            self.exit(return_code=1)

    def _look(self) -> None:
        frame = self._view.look(self.selection)
        self._pid = frame.processes[0].pid if frame.processes else 0
        heads = head_lines(frame)
        if self.is_paused:
            first = heads[0]
            heads[0] = first._replace(spans=(Span("bad", "PAUSED (still sampling) "), *first.spans))
        self._head.set_lines(None, heads)
        self._threads.set_lines(thread_heading(frame), list(thread_lines(frame)))
        self._functions.set_lines(self._function_heading(frame), list(function_lines(frame)))
        self._stack.set_lines(stack_heading(frame), list(stack_lines(frame.stack)))

    def on_resize(self) -> None:
        # Textual draws a new layout only where it differs from the old one, and a busy terminal may move
        # what it shows after that.
        for delay_s in _SETTLES_S:
            self.set_timer(delay_s, self.action_draw_all)

    def on_pane_moved(self, event: Pane.Moved) -> None:
        if event.pane in (self._threads, self._functions):
            other = self._functions if event.pane is self._threads else self._threads
            other.forget()
            self._select(stack_of=event.key)

    def action_sort(self) -> None:
        """The next order of the list that has the focus."""
        if self.focused is self._threads:
            orders: Sequence[ThreadOrder] = get_args(ThreadOrder)
            self._select(threads_by=_after(orders, self.selection.threads_by))
            self.notify(f"threads by {self.selection.threads_by}", markup=False)
        else:
            by: Sequence[FunctionOrder] = get_args(FunctionOrder)
            self._select(functions_by=_after(by, self.selection.functions_by))
            self.notify(f"functions by {self.selection.functions_by}", markup=False)

    def action_mode(self) -> None:
        self._select(mode=_after(MODES, self.selection.mode))

    def action_thread(self) -> None:
        """Only the functions of the chosen thread, or those of all again."""
        thread = self._threads.chosen
        if thread is None and self.selection.of_thread is None:
            self.notify("choose a thread first: Tab, then the arrow keys", markup=False)
            return
        same = thread is None or thread == self.selection.of_thread
        self._select(of_thread=None if same else thread)

    def action_idle(self) -> None:
        self._select(idle=not self.selection.idle)

    def action_native(self) -> None:
        self._select(native=not self.selection.native)
        if self._view.records_native:
            shown = "shown" if self.selection.native else "hidden"
            self.notify(f"native frames are {shown}", markup=False)
        else:
            self.notify("native frames are not recorded: start with --native", markup=False)

    def action_pause(self) -> None:
        self.is_paused = not self.is_paused
        self.look()

    def action_reset(self) -> None:
        """All threads and functions again, and the stack of the busiest thread."""
        self._threads.forget()
        self._functions.forget()
        self._select(of_thread=None, filter="", stack_of=None)

    def action_filter(self) -> None:
        def apply(answer: str | None) -> None:
            if answer is not None:
                self._select(filter=answer)

        text = "Show functions whose name or file contains:"
        self.push_screen(Question(text, self.selection.filter), apply)

    def action_write(self) -> None:
        def apply(answer: str | None) -> None:
            if answer:
                self.run_worker(self._write(answer), group="write")

        text = "Write everything since the begin to this file; the format is that of its name:"
        self.push_screen(Question(text, self._requests.default_file), apply)

    def action_dump(self) -> None:
        chosen = self.selection.stack_of
        pid = chosen.pid if isinstance(chosen, ThreadKey) else self._pid
        self.run_worker(self._dump(pid), group="dump", exclusive=True)

    async def _write(self, pattern: str) -> None:
        said = await asyncio.to_thread(
            self._requests.write, pattern, View(mode=self.selection.mode)
        )
        self.notify(said, timeout=10, markup=False)

    async def _dump(self, pid: int) -> None:
        lines = await asyncio.to_thread(self._requests.dump, pid)
        await self.push_screen(LongText(f"dump of {pid}", lines))

    def action_draw_all(self) -> None:
        """Draws also what has not changed."""
        self.refresh(layout=True)

    def _tick(self) -> None:
        if not self.is_paused:
            self.look()

    def _end_if_over(self) -> None:
        if self._is_over():
            self.exit()

    def _select(self, **changes: Any) -> None:
        self.selection = replace(self.selection, **changes)
        self.look()

    def _function_heading(self, frame: Frame) -> Line[None]:
        heading = function_heading(frame)
        if self.selection.filter:
            said = Span("waiting", f"; only with {self.selection.filter!r}")
            heading = heading._replace(spans=(*heading.spans, said))
        return heading


def show_screen(
    targets: Targets,
    recording: Recording,
    settings: Settings,
    look: Look,
    stop_requested: Callable[[], bool],
) -> None:
    """Records the targets on another thread while the screen has the terminal."""
    if look.no_color:
        os.environ["NO_COLOR"] = "1"  # Textual has no other switch.
    for size in ("COLUMNS", "LINES"):
        # Textual would believe these, which stay as they are when the terminal gets another size.
        os.environ.pop(size, None)
    log = SliceLog()
    recorder = RecordingThread(targets, recording, settings.duration_s, log)
    requests = Requests(recording)
    app = TopApp(
        LiveView(log, recording),
        requests,
        look,
        lambda: recorder.is_over or stop_requested(),
        TerminalDriver,
    )
    recorder.start()
    try:
        with kept_terminal():
            app.run()
            if app.failure is not None:
                raise app.failure
            if app.return_code:
                raise PystackError("the screen failed")
    finally:
        recorder.stop()
        for path in requests.written:
            print_status(f"written: {path}")


def _after(values: Sequence[Value], value: Value) -> Value:
    """The next one, and after the last one the first."""
    return values[(values.index(value) + 1) % len(values)]
