"""The stack that is looked at, with source lines."""

from __future__ import annotations

from typing import NamedTuple

from pystack.render.source import SourceReader, mark

from ..grouping import FrameLabel, Grouping
from ..profile import Profile
from ..wait_words import reason_of_frame
from .model import Stack, StackFrame
from .places import LONGEST, Places

#: Of a deeper stack, the outer frames are left out.
_MOST_FRAMES = 200


class RawStack(NamedTuple):
    """Frames as they were recorded, the innermost first."""

    pid: int
    frames: list[tuple[FrameLabel, str, int]]  # with file (not escaped) and line; -1: unknown
    more: int
    waits_for: FrameLabel | None


def raw_stack(
    grouping: Grouping, profile: Profile, stack: int, wait: int, *, native: bool
) -> RawStack:
    """Read it while the tables do not grow."""
    tables = profile.tables
    frames: list[tuple[FrameLabel, str, int]] = []
    more = 0
    while stack:
        row = tables.stack_frame[stack]
        label = grouping.label_of(profile, row)
        if native or not label.is_native:
            if len(frames) < _MOST_FRAMES:
                frames.append(
                    (label, tables.strings[tables.frame_file[row]], tables.frame_line[row])
                )
            else:
                more += 1
        stack = tables.stack_parent[stack]
    return RawStack(profile.process.pid, frames, more, grouping.label_of_wait(profile, wait))


class StackSources:
    """Finds the lines of the frames in the source files of each process."""

    def __init__(self) -> None:
        self._readers: dict[int, SourceReader] = {}

    def know(self, pid: int) -> None:
        """Call this when a process is first seen: later its ID may belong to another one."""
        if pid not in self._readers:
            self._readers[pid] = SourceReader.of_process(pid)

    def stack(self, title: str, raw: RawStack, places: Places) -> Stack:
        self.know(raw.pid)
        reader = self._readers[raw.pid]
        frames = []
        notes = dict[str, None]()
        if raw.waits_for is not None:
            reason = reason_of_frame(raw.waits_for.function)[:LONGEST]
            frames.append(StackFrame(f"waiting: {reason}", "", "", "wait"))
        for label, file, line in raw.frames:
            source = ""
            if not label.is_native and line > 0:
                source = _source(reader, file, line, notes)
            place = places.of(label, line if line > 0 else None)
            frames.append(StackFrame(places.name(label), place, source, label.kind))
        return Stack(title, tuple(frames), raw.more, tuple(notes))


def _source(reader: SourceReader, path: str, line: int, notes: dict[str, None]) -> str:
    file = reader.file(path)
    if file is None:
        if path in reader.refused:
            notes["source not read: the owner of the process has no permission to read it"] = None
        elif path in reader.left_out:
            notes["source not read: the file is too large"] = None
        return ""
    if file.changed:
        notes["source changed since the process started: other lines may be running"] = None
    text = file.line(line)
    return "" if text is None else mark(text, None, None, ends_here=True).before
