"""The overview of `pystack report`, as text."""

from __future__ import annotations

from typing import TextIO

from ..profile import Recording
from ..report import overview, overview_text
from ..view import DEFAULT_VIEW, View

_FUNCTIONS = 15


def export(recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None:
    lines = overview_text(overview(recording, view, _FUNCTIONS))
    stream.write("".join(f"{line}\n" for line in lines))
