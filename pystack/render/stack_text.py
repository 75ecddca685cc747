"""The lines of one stack: frames with their source lines and variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pystack.model import AnyFrame, Frame, Gap, NativeFrame, Thread
from pystack.render.escape import display_width, escape
from pystack.render.folding import fold_frames
from pystack.render.native import gap_line, native_line, without_plumbing
from pystack.render.source import MAX_TOTAL_BYTES, MarkedLine, SourceReader, mark
from pystack.render.terminal import Palette
from pystack.render.text_options import TextOptions
from pystack.render.words import count

_SOURCE_LEFT_OUT = (
    "    (source not read: the file is too large, or the limit of"
    f" {MAX_TOTAL_BYTES >> 20} MiB for all source files is reached)"
)

_CUTS = {
    "torn": "the stack could not be proved consistent",
    "unreadable": "a frame could not be read",
    "depth_limit": "the stack is deeper than the depth limit",
}


class StackText:
    """Makes the lines of one snapshot's stacks, the outermost frame first."""

    def __init__(
        self,
        palette: Palette,
        options: TextOptions,
        sources: SourceReader | None,
        *,
        of_core: bool,
    ) -> None:
        self._palette = palette
        self._options = options
        self._sources = sources
        self._reported_changed: set[str] = set()
        self._refused_source = (
            "    (source not read: the author of the core may lack permission to read it;"
            " --source-root reads it anyway)"
            if of_core
            else "    (source not read: the owner of the process has no permission to read it)"
        )
        self._changed_source = (
            "source changed since the core was written: other lines may have run"
            if of_core
            else "source changed since the process started: other lines may be running"
        )

    def lines(self, thread: Thread) -> Iterator[str]:
        """Problems come first, because the missing frames are the outermost ones."""
        frames: Sequence[AnyFrame] = thread.frames
        if not self._options.plumbing:
            frames = without_plumbing(frames)
        if thread.interpreter_id is None:
            if not frames:
                yield self._remark("only the frames that every thread starts with")
        elif thread.stack_end == "no_python":
            yield self._remark(
                thread.stack_problem or "no Python frames: the thread is not running Python code"
            )
        elif thread.stack_end != "complete":
            problem = thread.stack_problem or _CUTS.get(thread.stack_end, thread.stack_end)
            yield self._palette.paint(
                self._palette.bad, f"  [stack truncated here: {escape(problem)}]"
            )
        elif not frames:
            yield self._remark("no Python frames")
        yield from self.frames(frames)

    def frames(self, frames: Sequence[AnyFrame]) -> Iterator[str]:
        """The lines of the frames alone."""
        if self._options.full:
            yield from self._frames(frames)
            return
        for run in fold_frames(frames):
            for frame in run.frames:
                yield from self._frame(frame)
            if run.repeats:
                what = "line" if len(set(run.frames)) == 1 else f"{len(run.frames)} frames"
                times = count(run.repeats, "more time")
                yield f"  [Previous {what} repeated {times}]"

    def _remark(self, text: str) -> str:
        return self._palette.paint(self._palette.dim, f"  ({escape(text)})")

    def _frames(self, frames: Sequence[AnyFrame]) -> Iterator[str]:
        """Renders equal frames once: recursion can be very deep."""
        seen: set[int] = set()
        rendered: dict[int, list[str]] = {}
        for frame in frames:
            lines = rendered.get(id(frame))
            if lines is None:
                lines = list(self._frame(frame))
                # The first time there may be more to say: that the source has changed.
                if id(frame) in seen:
                    rendered[id(frame)] = lines
                seen.add(id(frame))
            yield from lines

    def _frame(self, frame: AnyFrame) -> Iterator[str]:
        if isinstance(frame, NativeFrame):
            yield native_line(frame, self._palette, signatures=self._options.signatures)
            return
        if isinstance(frame, Gap):
            yield gap_line(frame, self._palette)
            return
        file = escape(frame.file)
        name = self._palette.paint(self._palette.name, escape(frame.name))
        line = "?" if frame.line is None else frame.line
        where = "" if frame.interpreter_id is None else f" (interpreter {frame.interpreter_id})"
        yield f'  File "{file}", line {line}, in {name}{where}'
        yield from self._source(frame)
        yield from self._variables(frame)

    def _variables(self, frame: Frame) -> Iterator[str]:
        if frame.variables is None:
            return
        from pystack.render.variables import variable_lines

        yield from variable_lines(frame, self._palette, full=self._options.full)

    def _source(self, frame: Frame) -> Iterator[str]:
        if self._sources is None or frame.line is None:
            return
        source = self._sources.file(frame.file)
        if source is None:
            if frame.file in self._sources.left_out:
                yield self._palette.paint(self._palette.waiting, _SOURCE_LEFT_OUT)
            elif frame.file in self._sources.refused:
                yield self._palette.paint(self._palette.waiting, self._refused_source)
            return
        text = source.line(frame.line)
        if text is not None:
            # In a changed file, the columns would mark arbitrary text.
            column = None if source.changed else frame.column
            ends_here = frame.end_line is None or frame.end_line == frame.line
            yield from self._source_line(
                mark(text, column, frame.end_column, ends_here=ends_here, full=self._options.full)
            )
        if source.changed and frame.file not in self._reported_changed:
            self._reported_changed.add(frame.file)
            yield self._palette.paint(self._palette.waiting, f"    ({self._changed_source})")

    def _source_line(self, line: MarkedLine) -> Iterator[str]:
        before, marked, after = line
        if not (before or marked or after):
            return
        mark_colour = self._palette.mark
        yield f"    {before}{self._palette.paint(mark_colour, marked) if marked else ''}{after}"
        if marked:
            carets = "^" * max(display_width(marked), 1)
            yield f"    {' ' * display_width(before)}{self._palette.paint(mark_colour, carets)}"
