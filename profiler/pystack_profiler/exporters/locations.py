"""Stacks as pprof and OTLP have them: locations, of which one has all functions that were inlined at an address."""

from __future__ import annotations

from ..grouping import FrameLabel, Grouping

_TASK = "<task "

#: The path of a module and its build ID.
Module = tuple[str, str]


class Locations:
    """The locations of stacks, numbered from 1 as they are first met. The grouping is by address."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._ids: dict[tuple[int, ...], int] = {}
        self._modules: dict[Module, int] = {}
        self._functions: dict[FrameLabel, int] = {}
        self._tasks: dict[int, str] = {}  # by stack

    def of_stack(self, stack: int) -> list[int]:
        """The innermost location first."""
        groups: list[tuple[int, ...]] = []
        for frame in self._grouping.path(stack):
            if groups and self._is_inlined_into(frame, groups[-1][-1]):
                groups[-1] += (frame,)
            else:
                groups.append((frame,))
        return [self._ids.setdefault(group, len(self._ids) + 1) for group in reversed(groups)]

    def task(self, stack: int) -> str:
        """The name of the task that the stack belongs to; "" without one."""
        name = self._tasks.get(stack)
        if name is None:
            frames = (self._grouping.frames[frame] for frame in self._grouping.path(stack))
            names = (one.function for one in frames if one.kind == "marker")
            found = next((name for name in names if name.startswith(_TASK)), "")
            name = self._tasks[stack] = found.removeprefix(_TASK).removesuffix(">")
        return name

    def all(self) -> list[list[FrameLabel]]:
        """The frames of each location so far, innermost first."""
        frames = self._grouping.frames
        return [[frames[frame] for frame in reversed(group)] for group in self._ids]

    def module(self, label: FrameLabel) -> int:
        """The number of its module, from 1; 0: none, or not known."""
        if label.code is None or not label.code.module:
            return 0
        key = label.code.module, label.code.build_id
        return self._modules.setdefault(key, len(self._modules) + 1)

    def modules(self) -> list[Module]:
        """Those that were asked for."""
        return list(self._modules)

    def function(self, label: FrameLabel) -> int:
        """The number of its function, from 1."""
        return self._functions.setdefault(label.of_function, len(self._functions) + 1)

    def functions(self) -> list[FrameLabel]:
        """Those that were asked for."""
        return list(self._functions)

    def _is_inlined_into(self, frame: int, caller: int) -> bool:
        frames = self._grouping.frames
        code, other = frames[frame].code, frames[caller].code
        if code is None or other is None:
            return False
        return code[:3] == other[:3] and code.inline_depth > other.inline_depth
