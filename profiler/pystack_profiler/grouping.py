"""Which frames count as the same one, and what they are called.

By function, all lines of a function are one frame, which makes the clearest flame graph. By line,
each call site is its own frame, and its name ends in the line.
"""

from __future__ import annotations

import posixpath
from array import array
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pystack.render.escape import escape

from .profile import EMPTY_STACK, Profile

Granularity = Literal["function", "line"]


class FrameLabel(NamedTuple):
    """A frame as readers see it; equal labels are the same frame."""

    kind: int
    name: str
    file: str
    line: int | None  # the function's first line, or the line itself when grouped by line


@dataclass(frozen=True, slots=True)
class Grouping:
    """The stacks of a profile in terms of labels. Stack 0 is the empty one; parents come first."""

    frames: list[FrameLabel]
    parent: array[int]
    frame: array[int]
    stack_of: array[int]  # the profile's stack id -> the stack id here

    def path(self, stack: int) -> list[int]:
        """The frames of a stack, root first."""
        frames: list[int] = []
        while stack != EMPTY_STACK:
            frames.append(self.frame[stack])
            stack = self.parent[stack]
        frames.reverse()
        return frames


def group(profile: Profile, granularity: Granularity) -> Grouping:
    label_ids: dict[FrameLabel, int] = {}
    label_of_frame = array("I")
    for row in range(len(profile.frame_function)):
        label = _label(profile, row, granularity)
        label_of_frame.append(label_ids.setdefault(label, len(label_ids)))

    parent, frame = array("I", [0]), array("I", [0])
    stack_ids: dict[tuple[int, int], int] = {}
    stack_of = array("I", [EMPTY_STACK])
    for row in range(1, len(profile.stack_parent)):
        key = (stack_of[profile.stack_parent[row]], label_of_frame[profile.stack_frame[row]])
        stack = stack_ids.setdefault(key, len(parent))
        if stack == len(parent):
            parent.append(key[0])
            frame.append(key[1])
        stack_of.append(stack)
    return Grouping(list(label_ids), parent, frame, stack_of)


def _label(profile: Profile, row: int, granularity: Granularity) -> FrameLabel:
    name = escape(profile.strings[profile.frame_function[row]]) or "<unnamed>"
    file = escape(profile.strings[profile.frame_file[row]])
    kind = profile.frame_kind[row]
    by_line = granularity == "line"
    number = profile.frame_line[row] if by_line else profile.frame_first_line[row]
    line = number if number >= 0 else None
    suffix = f":{line}" if by_line and line is not None else ""
    if name.startswith("<") and file:
        # "<module>" and "<lambda>" alone say nothing; every file has them.
        return FrameLabel(kind, f"{name} ({posixpath.basename(file)}{suffix})", file, line)
    return FrameLabel(kind, name + suffix, file, line)
