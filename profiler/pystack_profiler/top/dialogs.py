"""What opens above the screen: a question, and a long text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from .lines import Line, Span
from .panes import Pane


class Question(ModalScreen[str | None]):
    """Asks for a line of text; None if the user does not answer."""

    DEFAULT_CSS = """
    Question { align: center bottom; }
    Question Static { width: 100%; background: $panel; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "cancel", priority=True)]

    def __init__(self, text: str, answer: str) -> None:
        super().__init__()
        self._text = text
        self._answer = answer

    def compose(self) -> ComposeResult:
        yield Static(self._text, markup=False)
        yield Input(self._answer)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_cancel(self) -> None:
        self.dismiss(None)


class LongText(ModalScreen[None]):
    """Shows lines to scroll through."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "dismiss", "Back", priority=True)
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        yield Pane(id="text")

    def on_mount(self) -> None:
        pane = self.query_one(Pane)
        heading = Line(None, (Span("head", f"{self._title} (Escape closes it)"),))
        pane.set_lines(heading, [Line(None, (Span("", line),)) for line in self._lines])
        pane.focus()
