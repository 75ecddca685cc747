"""Native frames as lines of text."""

from __future__ import annotations

import os.path
from collections.abc import Sequence

from pystack.model import AnyFrame, Gap, NativeFrame
from pystack.render.escape import escape
from pystack.render.terminal import Palette


def without_plumbing(frames: Sequence[AnyFrame]) -> Sequence[AnyFrame]:
    """The frames without what every Python program goes through."""
    return [frame for frame in frames if not (isinstance(frame, NativeFrame) and frame.is_plumbing)]


def native_line(frame: NativeFrame, palette: Palette, *, signatures: bool) -> str:
    """`  C list.sort, Objects/listobject.c:2471 (libpython3.13.so.1.0)`."""
    name = frame.signature if signatures and frame.python_name is None else frame.name
    words = [f"C {_paint(palette.name, escape(name), palette)}"]
    if frame.is_inlined:
        words.append(" (inlined)")
    if frame.file is not None:
        # Compilers note the steps from where they ran.
        file = escape(os.path.normpath(frame.file))
        words.append(f", {file}" if frame.line is None else f", {file}:{frame.line}")
    if frame.module is not None and frame.name_source != "none":
        words.append(f" ({escape(frame.module.rpartition('/')[2])})")
    if frame.is_guess:
        words.append(_paint(palette.waiting, " [guessed]", palette))
    return "  " + "".join(words)


def gap_line(gap: Gap, palette: Palette) -> str:
    """Native frames are missing where this line stands."""
    text = f"  [native frames are missing here: {escape(gap.reason)}]"
    return _paint(palette.bad, text, palette)


def _paint(colour: str, text: str, palette: Palette) -> str:
    return f"{colour}{text}{palette.reset}" if colour else text
