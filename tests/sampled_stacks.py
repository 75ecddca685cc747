"""The stacks of a recording, from the tables that its batches hand over bit by bit."""

from __future__ import annotations

from typing import NamedTuple

from pystack._core import Batch


class SampledFrame(NamedTuple):
    kind: int  # pystack._core.FrameKind
    function: str
    file: str
    line: int | None


class SampledStacks:
    """Grows with each batch; what a batch says of samples is the caller's."""

    def __init__(self) -> None:
        self._strings: list[str] = []
        self._frames: list[tuple[int, int, int, int]] = []  # kind, function, file, line
        self._rows: list[tuple[int, int]] = []  # caller, frame; row 0 is no stack

    def add(self, batch: Batch) -> None:
        self._strings += batch.strings
        self._frames += zip(
            batch.frame_kind,
            batch.frame_function,
            batch.frame_file,
            batch.frame_line,
            strict=True,
        )
        self._rows += zip(batch.stack_parent, batch.stack_frame, strict=True)

    def frames(self, stack: int) -> list[SampledFrame]:
        """Outermost first."""
        found = []
        while stack:
            stack, frame = self._rows[stack]
            kind, function, file, line = self._frames[frame]
            found.append(
                SampledFrame(
                    kind,
                    self._strings[function],
                    self._strings[file],
                    line if line > 0 else None,
                )
            )
        return found[::-1]
