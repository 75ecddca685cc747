"""The tables of one sampler: strings, frames, stacks and waits."""

from __future__ import annotations

import re
from array import array
from sys import intern
from typing import TYPE_CHECKING

from pystack.sampling import FrameKind

if TYPE_CHECKING:
    from .batch import Batch

#: The frame below the frames of an interpreter that another one called.
_INTERPRETER = re.compile(r"<interpreter (\d+)>")
#: The frame that replaces frames and stacks beyond the sampler's memory limit.
LEFT_OUT = "<left out: memory limit>"
#: What samples without frames are called in all formats.
NO_PYTHON = "<no Python code>"


class SymbolTables:
    """Append-only: an ID is the position of a row, and rows never change.

    A stack is (parent stack, frame), parents before children, so a sample holds one integer and equal
    stacks have equal IDs. Stack 0 is empty.
    """

    def __init__(self) -> None:
        self.strings: list[str] = []
        self.frame_kind = array("B")
        self.frame_function = array("I")
        self.frame_file = array("I")
        self.frame_line = array("i")
        self.frame_first_line = array("i")
        # Of native frames, else 0: string IDs of the file's path and build ID, the address as the file
        # counts, the depth of inlining and the source of the name (`pystack.sampling.NameSource`).
        self.frame_module = array("I")
        self.frame_build_id = array("I")
        self.frame_address = array("Q")
        self.frame_inline_depth = array("B")
        self.frame_name_source = array("B")
        self.stack_parent = array("I")
        self.stack_frame = array("I")
        # What threads wait for: an index of WAIT_KINDS, string IDs, and the number of the thread that is
        # waited for plus 1, or 0. Row 0 says that it is not known.
        self.wait_kind = array("B")
        self.wait_type = array("I")
        self.wait_name = array("I")
        self.wait_holder = array("I")

    def append(self, batch: Batch) -> None:
        """Adds the new rows of a batch."""
        # Processes of one program have the same strings: share them.
        self.strings.extend(map(intern, batch.strings))
        self.frame_kind.extend(batch.frame_kind)
        self.frame_function.extend(batch.frame_function)
        self.frame_file.extend(batch.frame_file)
        self.frame_line.extend(batch.frame_line)
        self.frame_first_line.extend(batch.frame_first_line)
        self.frame_module.extend(batch.frame_module)
        self.frame_build_id.extend(batch.frame_build_id)
        self.frame_address.extend(batch.frame_address)
        self.frame_inline_depth.extend(batch.frame_inline_depth)
        self.frame_name_source.extend(batch.frame_name_source)
        self.stack_parent.extend(batch.stack_parent)
        self.stack_frame.extend(batch.stack_frame)
        self.wait_kind.extend(batch.wait_kind)
        self.wait_type.extend(batch.wait_type)
        self.wait_name.extend(batch.wait_name)
        self.wait_holder.extend(batch.wait_holder)

    def copy(self) -> SymbolTables:
        copied = SymbolTables()
        for name, column in vars(self).items():
            setattr(copied, name, column[:])
        return copied

    def called_interpreters(self) -> dict[int, int]:
        """The interpreter that runs a stack, for stacks on which an interpreter called another one."""
        marks = {}
        for frame, (kind, name) in enumerate(
            zip(self.frame_kind, self.frame_function, strict=True)
        ):
            mark = _INTERPRETER.fullmatch(self.strings[name]) if kind == FrameKind.MARKER else None
            if mark is not None:
                marks[frame] = int(mark[1])
        called: dict[int, int] = {}
        # Parents come before children.
        for stack in range(1, len(self.stack_parent)) if marks else ():
            interpreter_id = marks.get(
                self.stack_frame[stack], called.get(self.stack_parent[stack])
            )
            if interpreter_id is not None:
                called[stack] = interpreter_id
        return called

    def left_out_stacks(self) -> bytearray:
        """For each stack, 1 if it lacks frames because of the memory limit. Empty if none does."""
        cut_frames = {
            frame
            for frame, (kind, name) in enumerate(
                zip(self.frame_kind, self.frame_function, strict=True)
            )
            if kind == FrameKind.MARKER and self.strings[name] == LEFT_OUT
        }
        if not cut_frames:
            return bytearray()
        is_cut = bytearray(len(self.stack_parent))
        for stack in range(1, len(is_cut)):  # Parents come before children.
            is_cut[stack] = (
                is_cut[self.stack_parent[stack]] or self.stack_frame[stack] in cut_frames
            )
        return is_cut
