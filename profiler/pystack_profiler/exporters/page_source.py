"""Source lines for the flame graph page: those around the sampled lines of the functions with most time.

A page is shared more widely than its program's source. So only lines near sampled ones are in it, only of functions
(constants such as passwords are at module level), and only from files that are the right ones: the line where a function
begins has to define it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pystack.render.escape import escape
from pystack.render.source import SourceFile, SourceReader

from ..aggregate import inclusive
from ..grouping import FrameLabel, Grouping

_LINES_AROUND = 6
_LONGEST_LINE = 200
_MOST_CHARS = 400_000  # of all lines
_MOST_LINES = 400  # of one function
_LEAST_SHARE = 0.001  # of all time

_UNNAMED = {
    "<lambda>": re.compile(r"\blambda\b"),
    "<listcomp>": re.compile(r"[\[(]"),
    "<setcomp>": re.compile(r"[{(]"),
    "<dictcomp>": re.compile(r"[{(]"),
    "<genexpr>": re.compile(r"\("),
}
_NAME = re.compile(r"(?:.*\.)?(\w+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that follow one another."""

    function: int  # its index in `functions`
    first: int  # number of the first line
    text: str  # escaped, without the indentation of the first line of the function
    changed: bool  # the file was written since the recording began


def source_lines(
    functions: Sequence[FrameLabel],
    lines_of: Mapping[int, Iterable[int]],
    times: Sequence[int],
    reader: SourceReader,
) -> list[Lines]:
    """`lines_of` are the sampled lines of functions, by their index; `times` those in them and what they call."""
    found: list[Lines] = []
    least = max(1, int(_LEAST_SHARE * max(times, default=0)))
    chars = _MOST_CHARS
    for function in sorted(lines_of, key=lambda index: -times[index]):
        if times[function] < least or chars <= 0:
            break
        for lines in _lines(function, functions[function], sorted(lines_of[function]), reader):
            chars -= len(lines.text)
            found.append(lines)
    return found


def times_of(
    grouping: Grouping, function_of: Sequence[int], own_us: Mapping[int, int]
) -> list[int]:
    """The time in each function and what it calls, from that of each stack."""
    by_stack = [0] * len(grouping.parent)
    for stack, time_us in own_us.items():
        by_stack[stack] = time_us
    times = [0] * (max(function_of, default=-1) + 1)
    for frame, time_us in enumerate(inclusive(grouping, by_stack)):
        times[function_of[frame]] += time_us  # An upper bound: recursion may be counted twice.
    return times


def _lines(
    function: int, label: FrameLabel, sampled: Sequence[int], reader: SourceReader
) -> Iterator[Lines]:
    first = label.first_line
    # A relative path is one of a working folder that nobody knows any more.
    if label.kind not in ("python", "library") or first is None or not label.file.startswith("/"):
        return
    if not sampled or not first <= sampled[-1] < first + 10 * _MOST_LINES:
        return
    file = reader.file(label.file)
    if file is None or not _defines(file, first, label.function):
        return
    indent = _indent(_plain(file.line(first)))
    for begin, end in _stretches(first, sampled):
        last = max(line for line in (first, *sampled) if line < end)
        text: list[str] = []
        for number in range(begin, end):
            line = _plain(file.line(number))
            if number > last and (not line or _indent(line) <= indent):
                break  # the next function
            text.append(_shown(line[min(indent, _indent(line)) :]))
        yield Lines(function, begin, "\n".join(text), file.changed)


def _defines(file: SourceFile, number: int, function: str) -> bool:
    """Whether a function can begin at this line: it has its name, or a decorator."""
    line = file.line(number) or ""
    name = _NAME.fullmatch(function)
    if name is not None:
        return re.search(rf"\bdef\s+{name[1]}\b|^\s*@", line) is not None
    last = function.rpartition(".")[2]
    return last in _UNNAMED and _UNNAMED[last].search(line) is not None


def _stretches(first: int, sampled: Sequence[int]) -> Iterator[tuple[int, int]]:
    """What is shown: begins, and the lines after the ends. The first line, and those around sampled ones."""
    begin, end = first, first + 1
    count = 0
    for line in sampled:
        around = max(first, line - _LINES_AROUND), line + _LINES_AROUND // 2
        if around[0] > end:
            yield begin, end
            count += end - begin
            begin = around[0]
        end = max(end, around[1])
        if count + end - begin > _MOST_LINES:
            break
    yield begin, min(end, begin + _MOST_LINES)


def _plain(line: str | None) -> str:
    return (line or "").rstrip().expandtabs(4)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _shown(line: str) -> str:
    return escape(line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…")
