"""Lists of lines on the screen: the only code that gives text of the target to Textual, and it escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pystack.render.escape import escape

from .lines import Line, Role, fit

_STYLES: dict[Role, Style] = {
    "": Style(),
    "head": Style(bold=True),
    "good": Style(color="green"),
    "waiting": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "name": Style(color="cyan"),
    "dim": Style(dim=True),
}
_CURSOR = Style(reverse=True)
_HEADING = Style(bold=True, underline=True)


class Pane(ScrollView, can_focus=True):
    """A heading and lines below it, one of which can be chosen if any has a key.

    It draws its lines itself, and only those that changed: Textual's own tables cost ten times as much.
    """

    DEFAULT_CSS = """
    Pane { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    Pane:focus { background: $boost; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
    ]

    class Moved(Message):
        """Another line was chosen by the user."""

        def __init__(self, pane: Pane, key: Any) -> None:
            super().__init__()
            self.pane = pane
            self.key = key

    def __init__(self, *, id: str, heading: bool = True, can_choose: bool = True) -> None:
        super().__init__(id=id)
        self.can_focus = can_choose
        self._fixed = 1 if heading else 0  # lines that do not scroll
        self._heading: Line[Any] = Line(None, ())
        self._lines: list[Line[Any]] = []
        self._cursor: int | None = None

    @property
    def chosen(self) -> Any:
        """The key of the chosen line, or None."""
        return None if self._cursor is None else self._lines[self._cursor].key

    def set_lines(self, heading: Line[Any] | None, lines: Sequence[Line[Any]]) -> None:
        """Shows other lines. The chosen one stays the one with the same key."""
        key = self.chosen
        before, cursor = self._lines, self._cursor
        changed = [
            row for row, line in enumerate(lines) if row >= len(before) or before[row] != line
        ]
        self._lines = list(lines)
        self._cursor = None
        if key is not None:
            self._cursor = next((row for row, line in enumerate(lines) if line.key == key), None)
        if cursor != self._cursor:
            changed += [row for row in (cursor, self._cursor) if row is not None]
        if heading is not None and heading != self._heading:
            self._heading = heading
            self.refresh(Region(0, 0, self.size.width, 1))
        if len(before) != len(lines):
            self.virtual_size = Size(self.size.width, len(lines) + self._fixed)
            self.refresh()
            return
        for row in changed:
            self._refresh_row(row)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y < self._fixed:
            return self._strip(self._heading, width, _HEADING)
        row = y - self._fixed + self.scroll_offset.y
        if row >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        is_chosen = row == self._cursor
        return self._strip(self._lines[row], width, _CURSOR if is_chosen else Style())

    def action_move(self, by: int) -> None:
        """Chooses another line; if none can be chosen, scrolls."""
        rows = [row for row, line in enumerate(self._lines) if line.key is not None]
        if not rows:
            self.scroll_relative(y=by, animate=False)
            return
        if self._cursor is None:
            at = 0 if by > 0 else len(rows) - 1
        else:
            at = min(max(rows.index(self._cursor) + by, 0), len(rows) - 1)
        self._choose(rows[at])

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.size.height - self._fixed - 1))

    def on_click(self, event: Click) -> None:
        row = event.y - self._fixed + self.scroll_offset.y
        if 0 <= row < len(self._lines) and self._lines[row].key is not None:
            self._choose(row)

    def forget(self) -> None:
        """Chooses nothing."""
        if self._cursor is not None:
            self._refresh_row(self._cursor)
            self._cursor = None

    def _choose(self, row: int) -> None:
        for changed in {row, self._cursor} - {None}:
            self._refresh_row(changed or 0)
        self._cursor = row
        room = max(1, self.size.height - self._fixed)
        top = self.scroll_offset.y
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif row >= top + room:
            self.scroll_to(y=row - room + 1, animate=False)
        self.post_message(self.Moved(self, self._lines[row].key))

    def _refresh_row(self, row: int) -> None:
        y = row - self.scroll_offset.y + self._fixed
        if self._fixed <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _strip(self, line: Line[Any], width: int, above: Style) -> Strip:
        base = self.rich_style
        segments = [
            Segment(escape(text), base + _STYLES[role] + above)
            for role, text in fit(line.spans, width)
            if text
        ]
        return Strip(segments).adjust_cell_length(width, base + above)
