"""A flame graph in one HTML file, which needs no network and no other file.

The page's template, style and scripts are in `flame_page/`. The data is one JSON object: tables of
strings, functions, lines and stacks as columns, and for each thread its time per stack and mode. The
browser makes all views from it. Lines are always included.

All data from the target is in that JSON. The page inserts it as text only, and `<` is written as an
escape, so the data cannot end its element.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TextIO, cast

from pystack.render.escape import escape
from pystack.render.source import SourceReader

from ..aggregate import display_order, thread_totals
from ..grouping import FrameLabel, Grouping
from ..metadata import metadata_of
from ..naming import process_title, recording_title, thread_title
from ..profile import Profile, Recording
from ..view import DEFAULT_VIEW, MODES, Mode, View, was_measured
from .blame_time import blamed_ns, by_stack_us
from .page_source import source_lines, times_of
from .pieces import write_array, write_numbers
from .task_time import LoopTasks, task_loops
from .thread_time import ThreadTime, bound

if TYPE_CHECKING:
    from ..comparison import Comparison

_SCRIPTS = (
    "words.js",
    "work.js",
    "runs.js",
    "recording.js",
    "folding.js",
    "base.js",
    "source.js",
    "pairs.js",
    "nodes.js",
    "tree.js",
    "search.js",
    "function_totals.js",
    "layout.js",
    "palette.js",
    "change.js",
    "canvas.js",
    "painter.js",
    "timeline_painter.js",
    "timeline.js",
    "threads.js",
    "growing_rows.js",
    "function_table.js",
    "info.js",
    "tip.js",
    "view_link.js",
    "picture.js",
    "page.js",
    "page_view.js",
    "input.js",
    "main.js",
)
_PLACE = re.compile("@([A-Z]+)@")
_NO_LINE = -1
_NOTEWORTHY = 0.01  # of the time
_LONGEST_TEXT = 1000
# Besides the modes: time that others waited for the GIL or a lock, by the holder's stack, and the part of the wall time in
# which the thread was idle.
_BLAME = "blame"
_IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison."""

    title: str
    recordings: Sequence[Recording]


def export(recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None:
    _write_page(stream, _Data(recording, view))


def export_comparison(
    before: Side, after: Side, comparison: Comparison, stream: TextIO, view: View = DEFAULT_VIEW
) -> None:
    """A differential flame graph: the widths are those of one side, the colours say what changed by more
    than chance explains, as the comparison has it."""
    from ..combine import combined  # as `diff` alone needs it

    recording = combined([*before.recordings, *after.recordings])
    data = _Data(recording, replace(view, threads=False), (before, after), comparison)
    _write_page(stream, data)


def _write_page(stream: TextIO, data: _Data) -> None:
    folder = files(__package__) / "flame_page"
    # The parts alternate: template text, the name of a placeholder, template text, ...
    for position, part in enumerate(_PLACE.split((folder / "page.html").read_text("utf-8"))):
        if position % 2 == 0:
            stream.write(part)
        elif part == "TITLE":
            stream.write(html.escape(data.title))
        elif part == "STYLE":
            stream.write((folder / "style.css").read_text("utf-8"))
        elif part == "SCRIPT":
            stream.writelines((folder / name).read_text("utf-8") for name in _SCRIPTS)
        elif part == "DATA":
            data.write(stream)


class _Data:
    """The JSON of a recording, or of the recordings of two sides as one."""

    def __init__(
        self,
        recording: Recording,
        view: View,
        sides: Sequence[Side] = (),
        comparison: Comparison | None = None,
    ) -> None:
        self._recording = recording
        self._view = view
        self._sides = sides
        self._comparison = comparison
        self._side_of = {
            profile: number
            for number, side in enumerate(sides)
            for one in side.recordings
            for profile in one.profiles
        }
        self.title = recording_title(recording)
        if sides:
            self.title = " and ".join(escape(side.title) for side in sides)

    def write(self, stream: TextIO) -> None:
        recording, view = self._recording, self._view
        grouping = Grouping(recording.profiles, "line", full_filenames=view.full_filenames)
        tracks = list(recording.tracks())
        order = display_order(tracks)
        measured = [mode for mode in MODES if was_measured(mode, recording.states)]
        modes: list[str] = [
            mode for mode in measured if mode != "runnable" or _waited_for_cpus(recording, view)
        ]
        blamed = blamed_ns(recording)
        if blamed:
            modes.append(_BLAME)
        modes += ["tasks"] if self._shows_tasks else []
        fields: dict[str, Any] = {
            "title": self.title,
            "metadata": _escaped(metadata_of(recording, view, order)),
            "modes": modes,
            "initial": {
                "mode": view.mode if view.mode in modes else "wall",
                "lines": view.granularity == "line",
                "threads": view.threads,
            },
            "processes": [
                {"title": _cut(process_title(profile))} for profile in recording.profiles
            ],
        }
        if self._comparison is not None:
            counts = zip(self._sides, self._comparison.samples, strict=True)
            fields["sides"] = [
                {"title": escape(side.title), "samples": count} for side, count in counts
            ]
        # These add stacks to the tables.
        threads = [ThreadTime(*tracks[index], grouping, recording.start_ns) for index in order]
        blamed_us = by_stack_us(blamed, grouping)
        loops = task_loops(recording, grouping) if self._shows_tasks else []
        if self._has_timeline:
            duration_us = recording.duration_ns // 1000
            slice_us = max(bound(threads, duration_us), recording.time_resolution_ns // 1000)
            fields["timeline"] = {"duration": duration_us, "slice": slice_us}
        stream.write("{")
        for name, value in fields.items():
            stream.write(f"{_text(name)}:{_text(value)},\n")
        functions, function_of = _functions(grouping, of_versions=bool(self._sides))
        _write_tables(grouping, functions, function_of, stream, self._chance())
        if not self._sides:  # They are of different versions of the program.
            stream.write(
                f',\n"source":{_text(self._source(grouping, functions, function_of, threads))}'
            )
        stream.write(',\n"threads":[')
        place = {profile: number for number, profile in enumerate(recording.profiles)}
        thread_modes = [mode for mode in modes if mode != "tasks"]
        for position, (index, time) in enumerate(zip(order, threads, strict=True)):
            profile, track = tracks[index]
            stream.write(",\n" if position else "\n")
            title = _text(_cut(thread_title(track.identity)))
            stream.write(f'{{"title":{title},"process":{place[profile]},')
            if self._sides:
                stream.write(f'"side":{self._side_of[profile]},')
            _write_times(stream, time, thread_modes, blamed_us.get(track, {}))
            if self._has_timeline:
                stream.write(f',"start":{time.start_us},"runs":"{time.packed()}"')
            stream.write("}")
        stream.write("]")
        if loops:
            _write_tasks(stream, loops, place)
        stream.write("}")

    @property
    def _shows_tasks(self) -> bool:
        return self._recording.has_tasks and not self._sides

    @property
    def _has_timeline(self) -> bool:
        """Two recordings have no time in common, and what is compared may have lost its order."""
        return not self._sides

    def _source(
        self,
        grouping: Grouping,
        functions: Sequence[FrameLabel],
        function_of: Sequence[int],
        threads: Iterable[ThreadTime],
    ) -> list[dict[str, Any]]:
        if not self._view.source:
            return []
        own_us: dict[int, int] = {}
        for thread in threads:
            for stack, time_us in thread.in_mode("wall").items():
                own_us[stack] = own_us.get(stack, 0) + time_us
        lines_of: dict[int, set[int]] = {}
        for function, label in zip(function_of, grouping.frames, strict=True):
            if label.at is not None:
                lines_of.setdefault(function, set()).add(label.at)
        times = times_of(grouping, function_of, own_us)
        reader = SourceReader.of_recording(self._recording.start_time_ns / 1e9)
        return [asdict(lines) for lines in source_lines(functions, lines_of, times, reader)]

    def _chance(self) -> Callable[[FrameLabel], float] | None:
        if self._comparison is None:
            return None
        from ..comparison import FunctionKey  # needs statistics, as no recording does

        chance = self._comparison.chance()
        return lambda label: chance(FunctionKey.of(label))


def _waited_for_cpus(recording: Recording, view: View) -> bool:
    """Whether waiting for a CPU deserves a view of its own."""
    totals = thread_totals(recording)
    waited_ns = sum(total.runnable_ns or 0 for total in totals)
    return view.mode == "runnable" or waited_ns > _NOTEWORTHY * recording.duration_ns


def _functions(grouping: Grouping, *, of_versions: bool) -> tuple[list[FrameLabel], list[int]]:
    """The functions of all frames, and the index of the function of each frame.

    `of_versions`: of a program, in which a function may have moved. It has the line of the last one.
    """
    own = [label._replace(at=None) for label in grouping.frames]
    keys = [label._replace(first_line=None) for label in own] if of_versions else own
    functions = dict(zip(keys, own, strict=True))
    places = {key: place for place, key in enumerate(functions)}
    return list(functions.values()), [places[key] for key in keys]


def _write_tables(
    grouping: Grouping,
    functions: Sequence[FrameLabel],
    function_of: Sequence[int],
    stream: TextIO,
    chance: Callable[[FrameLabel], float] | None,
) -> None:
    strings: dict[str, int] = {}

    def string_ids(texts: Iterable[str]) -> list[int]:
        return [strings.setdefault(_cut(text), len(strings)) for text in texts]

    kinds = sorted({label.kind for label in functions})
    lines = [_NO_LINE if label.first_line is None else label.first_line for label in functions]
    columns = {
        "name": string_ids(label.name for label in functions),
        "file": string_ids(label.file for label in functions),
        "line": lines,
        "kind": [kinds.index(label.kind) for label in functions],
    }
    stream.write(f'"kinds":{_text(kinds)},\n"strings":')
    write_array(stream, map(_text, strings))
    _write_columns(stream, "functions", columns)
    if chance is not None:
        factors = [chance(label) for label in functions]
        stream.write(f',\n"chance":{_text([round(factor, 3) for factor in factors])}')
    _write_columns(
        stream,
        "frames",
        {
            "function": function_of,
            "line": (_NO_LINE if label.at is None else label.at for label in grouping.frames),
        },
    )
    # A caller is usually only a few stacks before its callee, so distances are short numbers.
    distances = (stack - grouping.parent[stack] for stack in range(1, len(grouping.parent)))
    _write_columns(stream, "stacks", {"parent": distances, "frame": grouping.frame[1:]})


def _write_columns(stream: TextIO, name: str, columns: Mapping[str, Iterable[int]]) -> None:
    stream.write(f',\n"{name}":{{')
    for position, (column, numbers) in enumerate(columns.items()):
        stream.write(f'{"," if position else ""}"{column}":')
        write_numbers(stream, numbers)
    stream.write("}")


def _write_times(
    stream: TextIO, time: ThreadTime, modes: Sequence[str], blamed_us: Mapping[int, int]
) -> None:
    """The time of a thread per stack and mode, in microseconds."""
    stacks = sorted({*time.stacks(), *blamed_us})
    stream.write('"stack":')
    write_numbers(stream, _differences(stacks))
    idle_us = time.in_mode("idle")
    for mode in (*modes, *([_IDLE] if idle_us else [])):
        times_us = {_BLAME: blamed_us, _IDLE: idle_us}.get(mode)
        if times_us is None:
            times_us = time.in_mode(cast("Mode", mode))
        stream.write(f',"{mode}":')
        write_numbers(stream, (times_us.get(stack, 0) for stack in stacks))


def _write_tasks(stream: TextIO, loops: Sequence[LoopTasks], place: Mapping[Profile, int]) -> None:
    stream.write(',\n"tasks":[')
    for position, loop in enumerate(loops):
        stream.write(",\n" if position else "\n")
        title = _text(_cut(loop.title))
        stream.write(
            f'{{"title":{title},"process":{place[loop.profile]},"covered":{loop.covered_us},"stack":'
        )
        write_numbers(stream, _differences(list(loop.time_us)))
        stream.write(',"tasks":')
        write_numbers(stream, loop.time_us.values())
        stream.write("}")
    stream.write("]")


def _differences(numbers: Sequence[int]) -> Iterator[int]:
    previous = 0
    for number in numbers:
        yield number - previous
        previous = number


def _cut(text: str) -> str:
    """A text of the target as far as somebody would read it: each is searched, measured and drawn."""
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]}… ({len(text) - _LONGEST_TEXT:,} more characters)"


def _escaped(value: Any) -> Any:
    """A copy of the value with all strings escaped for display."""
    if isinstance(value, str):
        return escape(_cut(value))
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
