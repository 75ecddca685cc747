"""Native frames as lines of text."""

from __future__ import annotations

import os.path
from collections.abc import Sequence

from pystack.model import AnyFrame, Gap, NativeFrame
from pystack.render.escape import escape
from pystack.render.terminal import Palette


def without_plumbing(frames: Sequence[AnyFrame]) -> Sequence[AnyFrame]:
    """The frames without the interpreter's internals."""
    return [frame for frame in frames if not (isinstance(frame, NativeFrame) and frame.is_plumbing)]


def native_line(frame: NativeFrame, palette: Palette, *, signatures: bool) -> str:
    """`  C list.sort, Objects/listobject.c:2471 (libpython3.13.so.1.0)`."""
    name = frame.signature if signatures and frame.python_name is None else frame.name
    words = [f"C {palette.paint(palette.name, escape(name))}"]
    if frame.is_inlined:
        words.append(" (inlined)")
    if frame.file is not None:
        # Compilers may record a path relative to their working folder.
        file = escape(os.path.normpath(frame.file))
        words.append(f", {file}" if frame.line is None else f", {file}:{frame.line}")
    if frame.module is not None and frame.name_source != "none":
        words.append(f" ({escape(frame.module.rpartition('/')[2])})")
    if frame.is_guess:
        words.append(palette.paint(palette.waiting, " [guessed]"))
    return "  " + "".join(words)


def gap_line(gap: Gap, palette: Palette) -> str:
    """The line that stands where native frames are missing."""
    text = f"  [native frames are missing here: {escape(gap.reason)}]"
    return palette.paint(palette.bad, text)
