"""The only module that writes to the terminal; it escapes what comes from a target, core or file name.

Text is escaped where it is made (`render/escape.py`), because only there the parts are known. Here it
is escaped again, in case that was forgotten: all control, invisible and direction-changing characters,
except line ends, our own colours and the status line's sequences. A test checks that nothing else in
the package writes to stdout or stderr.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from pystack.render.escape import escape
from pystack.render.terminal import COLOURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_CLEAR_LINE = "\r\x1b[K"
_WRITTEN_AT_ONCE = 1 << 16  # characters
# Compiled when it is first used, which most runs never do.
_OWN_COLOURS = "(" + "|".join(sorted({colour.replace("[", r"\[") for colour in COLOURS})) + ")"


def print_status(text: str) -> None:
    """Prints one line about what the command does, on stderr."""
    print_lines([f"pystack: {text}"])


def print_lines(lines: Iterable[str]) -> None:
    """Prints more lines on stderr; they have no line ends."""
    stream = sys.stderr
    if stream is None:  # started with stderr closed
        return
    stream.writelines(escape(line) + "\n" for line in lines)
    stream.flush()


def write_lines(lines: Iterable[str], *, color: bool = False) -> None:
    """Prints the result on stdout: lines without line ends; `color` lets our own colours pass.

    Flushes, so that a full disk or a closed pipe is noticed here and not at exit.
    """
    stream = sys.stdout
    if stream is None:  # started with stdout closed
        return
    if hasattr(stream, "reconfigure"):
        # The terminal's encoding may not have all characters of a file name.
        stream.reconfigure(errors="backslashreplace")
    safe = _with_colours if color else escape
    for text in _joined(map(safe, lines)):
        stream.write(text)
    stream.flush()


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """The lines with their ends, many at once: a write for each takes longer than making them."""
    pending: list[str] = []
    size = 0
    for line in lines:
        if len(line) > _WRITTEN_AT_ONCE:  # A line of JSON can be very long: it is not copied.
            yield "".join(pending)
            yield line
            pending, size = ["\n"], 0
            continue
        pending.append(f"{line}\n")
        size += len(line) + 1
        if size > _WRITTEN_AT_ONCE:
            yield "".join(pending)
            pending, size = [], 0
    yield "".join(pending)


class Guarded(io.TextIOBase):
    """A stream for everything else that is written to a terminal: tracebacks, warnings, click's errors.

    It has no `buffer`, so that nothing can bypass it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    def write(self, text: str) -> int:
        self.stream.write("\n".join(map(escape, text.split("\n"))))
        return len(text)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


def guarded(stream: TextIO) -> TextIO:
    return stream if isinstance(stream, Guarded) else Guarded(stream)  # type: ignore[return-value]


def guard_stderr() -> None:
    """Escapes everything that this process writes to stderr from now on."""
    if sys.stderr is not None:
        sys.stderr = guarded(sys.stderr)


class StatusLine:
    """A line on stderr that is rewritten in place; nothing is shown if stderr is not a terminal."""

    def __init__(self, stream: TextIO | None = None, *, shown: bool = True) -> None:
        stream = sys.stderr if stream is None else stream
        self._stream = stream.stream if isinstance(stream, Guarded) else stream
        self.is_shown = shown and stream is not None and stream.isatty()
        self._is_there = False

    def show(self, *texts: str) -> None:
        """Shows the first of the texts that fits, or the begin of the last."""
        if self.is_shown:
            import shutil  # Slow to import, and only needed on a terminal.

            width = shutil.get_terminal_size().columns - 1
            shown = next((text for text in map(escape, texts) if len(text) <= width), texts[-1])
            self._write(_CLEAR_LINE + escape(shown)[:width])
            self._is_there = True

    def wipe(self) -> None:
        if self._is_there:
            self._write(_CLEAR_LINE)
            self._is_there = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


#: Back to the main screen, without mouse reports and bracketed paste, with a cursor and its usual colours.
_USUAL_SCREEN = (
    "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[?25h\x1b[0m"
)


@contextmanager
def kept_terminal() -> Iterator[None]:
    """For a block that takes the whole terminal: if it raises, the terminal is as usual again."""
    import termios

    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, OSError, ValueError, AttributeError, TypeError):
        yield  # no terminal
        return
    try:
        yield
    except BaseException:
        stream = sys.stderr.stream if isinstance(sys.stderr, Guarded) else sys.stderr
        with suppress(OSError, ValueError, AttributeError):
            stream.write(_USUAL_SCREEN)
            stream.flush()
        raise
    finally:
        with suppress(termios.error, OSError, ValueError):
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def trace_lines(error: BaseException) -> Iterator[str]:
    """A traceback in which the text of an exception cannot imitate traceback lines."""
    import traceback

    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        hidden = following.__suppress_context__
        following = following.__cause__ or (None if hidden else following.__context__)
    for one in reversed(chain):
        yield "Traceback (most recent call last):"
        for part in traceback.format_tb(one.__traceback__):
            yield from part.splitlines()
        yield f"{type(one).__name__}: {one}"


def _with_colours(line: str) -> str:
    if "\x1b" not in line:
        return escape(line)
    import re

    parts = re.split(_OWN_COLOURS, line)
    return "".join(part if position % 2 else escape(part) for position, part in enumerate(parts))
