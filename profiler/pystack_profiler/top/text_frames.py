"""Frames as plain text."""

from __future__ import annotations

from collections.abc import Iterator

from pystack.render.terminal import Palette

from .lines import (
    Line,
    fit,
    function_heading,
    function_lines,
    head_lines,
    stack_heading,
    stack_lines,
    thread_heading,
    thread_lines,
)
from .model import Frame

_MOST_THREADS, _MOST_FUNCTIONS, _MOST_FRAMES = 20, 20, 20


def text_frame(frame: Frame, palette: Palette, width: int | None) -> Iterator[str]:
    """The lines of a frame, cut to `width` columns; None: as long as they are."""
    sections = (
        (None, head_lines(frame), None),
        (thread_heading(frame), list(thread_lines(frame)), _MOST_THREADS),
        (function_heading(frame), list(function_lines(frame)), _MOST_FUNCTIONS),
        (stack_heading(frame), list(stack_lines(frame.stack)), _MOST_FRAMES),
    )
    for heading, lines, most in sections:
        if heading is not None:
            yield ""
            yield _text(heading, palette, width)
        for line in lines[:most]:
            yield _text(line, palette, width)
        if most is not None and len(lines) > most:
            yield f"  and {len(lines) - most} more"


def _text(line: Line[object], palette: Palette, width: int | None) -> str:
    spans = line.spans if width is None else fit(line.spans, width)
    return "".join(
        palette.paint(getattr(palette, role) if role else "", text) for role, text in spans if text
    ).rstrip()
