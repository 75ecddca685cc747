"""Merges equal frames, names them, and merges the stacks of all processes.

By function, all lines of a function are one frame, which makes the clearest flame graph. By line,
each call site is a frame, and its name ends with the line. By address, native frames also differ by where
they are in their file.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pystack.libraries import is_frozen, is_library
from pystack.render.escape import escape
from pystack.sampling import FrameKind, SampleState

from .profile import Profile
from .short_paths import short_paths
from .tables import NO_PYTHON, SymbolTables
from .track import EMPTY_STACK, Run
from .view import Granularity
from .wait_words import is_wait_frame, row_reason, wait_frame, wait_reason

LabelKind = Literal["python", "library", "native", "interpreter", "gc", "wait", "marker"]

_INTERPRETER = re.compile(r"(?:^|/)(?:lib)?python[\d.]*[a-z]*(?:-dbg)?(?:\.so[\d.]*)?$")

#: The begin of the names of the sampler's marks for gaps.
_NATIVE_MISSING = "<native frames are missing"


class NativeCode(NamedTuple):
    """Where a native frame is, as the recorder read it."""

    module: str  # the path of its file; "": none, or not known
    build_id: str  # hexadecimal; "": none
    address: int  # of the next instruction, as the file counts; without a file, in memory
    inline_depth: int  # 0: the function itself; n: inlined into it, n calls deep


class FrameLabel(NamedTuple):
    """A frame as it is shown; equal labels are the same frame."""

    kind: LabelKind
    function: str
    file: str
    first_line: int | None  # of the function
    at: int | None = None  # the line that ran, when grouped by line or address
    short_file: str = ""  # the end of `file`, as much as names show
    code: NativeCode | None = None  # of native frames, when grouped by address

    @property
    def name(self) -> str:
        suffix = f":{self.at}" if self.at is not None else ""
        if self.function.startswith("<") and self.file:
            # "<module>" and "<lambda>" are ambiguous without the file.
            return f"{self.function} ({self.short_file}{suffix})"
        return self.function + suffix

    @property
    def line(self) -> int | None:
        return self.first_line if self.at is None else self.at

    @property
    def is_native(self) -> bool:
        """Whether it is code of a file that is not Python, or says that such frames are missing."""
        if self.kind == "marker":
            return self.function.startswith(_NATIVE_MISSING)
        return self.kind == "native" or (self.kind == "interpreter" and not is_frozen(self.file))

    @property
    def of_function(self) -> FrameLabel:
        """The label that all frames of the function share."""
        return self._replace(at=None, code=None)


#: The innermost frame while garbage is collected. `profiling.sampling` uses the same name.
GARBAGE_COLLECTION = FrameLabel("gc", "<garbage collection>", "", None)

#: The only frame of a gap: time in which the thread existed, but no sample of it was taken.
NOT_SAMPLED = FrameLabel("marker", "<not sampled>", "", None)

#: The outermost frame of a sample without Python frames: the thread was starting or ending, or is one of native code
#: that calls Python now and then.
_NO_PYTHON = FrameLabel("marker", NO_PYTHON, "", None)

#: The innermost frame of a thread that waits for the GIL.
_WAITS_FOR_GIL = FrameLabel("wait", wait_frame(wait_reason("gil")), "", None)


class Grouping:
    """The stacks of several profiles in terms of labels. Stack 0 is empty; parents come first.

    Stacks with the garbage collector's frame, or with what is waited for, are added at first use. Only time that has no
    stack in any sense has stack 0, such as that of no thread: samples without Python frames have a frame that says so.
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        granularity: Granularity | Literal["address"],
        *,
        full_filenames: bool = False,
    ) -> None:
        self.parent, self.frame = array("I", [0]), array("I", [0])
        self.frames: list[FrameLabel] = []
        self._granularity = granularity
        self._short: Mapping[str, str] | None = None  # None: whole paths
        self._label_ids: dict[FrameLabel, int] = {}
        self._stack_ids: dict[int, int] = {}  # by parent << 32 | frame
        # By the rows of the tables:
        self._labels_of: dict[Profile, array[int]] = {}
        self._stacks_of: dict[Profile, array[int]] = {}
        self._waits_of: dict[Profile, dict[int, int]] = {}
        states = 0
        if not full_filenames:
            files = set[str]().union(*(_files(profile.tables) for profile in profiles))
            self._short = short_paths(files)
        for profile in profiles:
            states |= profile.states
            self._add(profile)
        for profile in profiles:
            used = set[int]().union(*(track.waits for track in profile.all_tracks))
            self._add_waits(profile, sorted(used))
        self._gil = -1
        if states & SampleState.WAITS_FOR_GIL:
            self._gil = self._label(_WAITS_FOR_GIL)
        self._collector = -1
        if states & SampleState.GC:
            self._collector = self._label(GARBAGE_COLLECTION)
        self._gap = EMPTY_STACK
        if any(track.has_gaps for profile in self._stacks_of for track in profile.tracks):
            self._gap = self._push(EMPTY_STACK, self._label(NOT_SAMPLED))
        self._no_python = EMPTY_STACK
        if any(track.has_empty_stacks for profile in self._stacks_of for track in profile.tracks):
            self._no_python = self._push(EMPTY_STACK, self._label(_NO_PYTHON))

    def grow(self, profile: Profile) -> None:
        """Adds the rows that the tables of a profile got since the last call; it may be a new profile.

        Only with `full_filenames`: short names would depend on the files that are still to come.
        """
        self._add(profile)
        known = self._waits_of.get(profile, {})
        self._add_waits(profile, range(len(known) + 1, len(profile.tables.wait_kind)))
        self._gil = self._label(_WAITS_FOR_GIL)
        self._collector = self._label(GARBAGE_COLLECTION)
        self._no_python = self._push(EMPTY_STACK, self._label(_NO_PYTHON))

    def stack_of_run(self, profile: Profile, run: Run) -> int:
        """The merged stack of a run, which may be a gap."""
        if not run.samples:
            return self._gap
        return self.stack_of(profile, run.stack, run.state, run.wait)

    def stack_of(self, profile: Profile, stack: int, state: int, wait: int = 0) -> int:
        """The merged stack for a sample of `profile` with this stack, state and wait."""
        here = self._stacks_of[profile][stack]
        if state & SampleState.GC and self._collector >= 0:
            return self._push(here, self._collector)
        if stack == EMPTY_STACK:
            here = self._no_python
        if wait:
            return self._push(here, self._waits_of[profile][wait])
        if state & SampleState.WAITS_FOR_GIL and self._gil >= 0:
            return self._push(here, self._gil)
        return here

    def wait_of_run(self, profile: Profile, run: Run) -> FrameLabel | None:
        """The frame that says what a run waits for; None if that is not known."""
        return self.label_of_wait(profile, run.wait)

    def label_of_wait(self, profile: Profile, wait: int) -> FrameLabel | None:
        """As `wait_of_run`, for a row of the profile's table of waits."""
        return self.frames[self._waits_of[profile][wait]] if wait else None

    def label_of(self, profile: Profile, frame: int) -> FrameLabel:
        """The label of a row of the profile's table of frames."""
        return self.frames[self._labels_of[profile][frame]]

    def path(self, stack: int) -> list[int]:
        """The frames of a stack, root first."""
        frames: list[int] = []
        while stack != EMPTY_STACK:
            frames.append(self.frame[stack])
            stack = self.parent[stack]
        frames.reverse()
        return frames

    def _add(self, profile: Profile) -> None:
        """Labels the rows of the profile's tables that are new."""
        tables = profile.tables
        label_of_frame = self._labels_of.setdefault(profile, array("I"))
        for row in range(len(label_of_frame), len(tables.frame_function)):
            label_of_frame.append(
                self._label(_label_of(tables, row, self._granularity, self._short))
            )
        # As `_push`, without a call for each of what can be half a million stacks.
        ids, parents, frames = self._stack_ids, self.parent, self.frame
        stack_of = self._stacks_of.setdefault(profile, array("I", [EMPTY_STACK]))
        begin = len(stack_of)
        for parent_row, frame_row in zip(
            tables.stack_parent[begin:], tables.stack_frame[begin:], strict=True
        ):
            parent, frame = stack_of[parent_row], label_of_frame[frame_row]
            stack = ids.setdefault(parent << 32 | frame, len(parents))
            if stack == len(parents):
                parents.append(parent)
                frames.append(frame)
            stack_of.append(stack)

    def _add_waits(self, profile: Profile, rows: Iterable[int]) -> None:
        """Labels the innermost frames of threads that wait, by the rows of the table."""
        waits = self._waits_of.setdefault(profile, {})
        tables = profile.tables
        for wait in rows:
            holder = tables.wait_holder[wait]
            name = _thread_name(profile, holder - 1) if holder else None
            reason = row_reason(tables, wait, name)
            waits[wait] = self._label(FrameLabel("wait", wait_frame(reason), "", None))

    def _label(self, label: FrameLabel) -> int:
        known = self._label_ids.setdefault(label, len(self.frames))
        if known == len(self.frames):
            self.frames.append(label)
        return known

    def _push(self, parent: int, frame: int) -> int:
        stack = self._stack_ids.setdefault(parent << 32 | frame, len(self.parent))
        if stack == len(self.parent):
            self.parent.append(parent)
            self.frame.append(frame)
        return stack


def _thread_name(profile: Profile, number: int) -> str:
    who = profile.identity_of(number)
    if who is None:
        return "a thread"
    return escape(who.name) or (str(who.tid) if who.tid else "a thread")


def _files(tables: SymbolTables) -> set[str]:
    return {escape(tables.strings[file]) for file in set(tables.frame_file)}


def _label_of(
    tables: SymbolTables,
    row: int,
    granularity: Granularity | Literal["address"],
    short: Mapping[str, str] | None,
) -> FrameLabel:
    file = escape(tables.strings[tables.frame_file[row]])
    function = escape(tables.strings[tables.frame_function[row]]) or "<unnamed>"
    first_line, line = tables.frame_first_line[row], tables.frame_line[row]
    return FrameLabel(
        kind=_kind(tables.frame_kind[row], file, function),
        function=function,
        file=file,
        first_line=first_line if first_line >= 0 else None,
        at=line if granularity != "function" and line >= 0 else None,
        short_file=file if short is None else short[file],
        code=_code(tables, row) if granularity == "address" else None,
    )


def _code(tables: SymbolTables, row: int) -> NativeCode | None:
    if tables.frame_kind[row] != FrameKind.NATIVE:
        return None
    return NativeCode(
        escape(tables.strings[tables.frame_module[row]]),
        escape(tables.strings[tables.frame_build_id[row]]),
        tables.frame_address[row],
        tables.frame_inline_depth[row],
    )


def _kind(kind: int, file: str, function: str) -> LabelKind:
    """The kind of a frame, from the sampler's kind and the names."""
    if kind == FrameKind.NATIVE:
        return "interpreter" if _INTERPRETER.search(file) else "native"
    if kind == FrameKind.MARKER:
        # A wait is a frame only where it was read from a page.
        return "wait" if is_wait_frame(function) else "marker"
    if is_frozen(file):
        return "interpreter"
    return "library" if is_library(file) else "python"
