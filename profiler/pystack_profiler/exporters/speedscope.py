"""speedscope's JSON: one sampled profile per thread, on one common clock.

Weights are nanoseconds of real time. Every profile covers the whole recording, so the time axes of all
threads agree: time in which a thread was not sampled, or was not in the chosen mode, is an empty stack.
Data that speedscope has no field for is under the key `pystack`, which viewers ignore.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from ..aggregate import busiest_track, display_order
from ..grouping import FrameLabel, Grouping
from ..metadata import metadata_of
from ..naming import process_title, recording_title, thread_title
from ..profile import Profile, Recording
from ..track import EMPTY_STACK, Track
from ..view import DEFAULT_VIEW, Mode, View, time_in_mode
from .pieces import write_array, write_numbers

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

_CACHED_CHARACTERS = 1 << 24


def export(recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None:
    """Writes piece by piece, so that the file is never in memory as a whole."""
    grouping = Grouping(recording.profiles, view.granularity, full_filenames=view.full_filenames)
    write = stream.write
    write("{")
    _write_field(stream, "$schema", SCHEMA)
    _write_field(stream, "exporter", f"pystack@{recording.tool_version or 'unknown'}")
    _write_field(stream, "name", recording_title(recording))
    tracks = list(recording.tracks())
    order = display_order(tracks)
    busiest = busiest_track(recording)
    _write_field(stream, "activeProfileIndex", 0 if busiest is None else order.index(busiest))
    _write_field(stream, "pystack", metadata_of(recording, view, order))
    # Labels may differ in fields that speedscope lacks; their equal frames must become one frame.
    frames: dict[str, int] = {}
    frame_ids = [frames.setdefault(_frame(label), len(frames)) for label in grouping.frames]
    write('"shared":{"frames":')
    write_array(stream, frames)
    write('},"profiles":[')
    stack_text = _StackText(grouping, frame_ids)
    for position, index in enumerate(order):
        profile, track = tracks[index]
        write(",\n" if position else "\n")
        weighted = [*_weighted_stacks(recording, profile, track, grouping, view.mode)]
        title = f"{thread_title(track.identity)} · {process_title(profile)}"
        _write_profile(stream, title, weighted, stack_text)
    if not tracks:
        # speedscope rejects a file without profiles, and an empty recording should open, too.
        nothing = [(EMPTY_STACK, recording.duration_ns)]
        write("\n")
        _write_profile(stream, "no sample was taken", nothing, stack_text)
    write("]}\n")


def _write_profile(
    stream: TextIO, name: str, weighted: list[tuple[int, int]], stack_text: _StackText
) -> None:
    stream.write('{"type":"sampled",')
    _write_field(stream, "name", name)
    _write_field(stream, "unit", "nanoseconds")
    _write_field(stream, "startValue", 0)
    _write_field(stream, "endValue", sum(weight_ns for _, weight_ns in weighted))
    stream.write('"samples":')
    write_array(stream, (stack_text(stack) for stack, _ in weighted))
    stream.write(',"weights":')
    write_numbers(stream, (weight_ns for _, weight_ns in weighted))
    stream.write("}")


def _weighted_stacks(
    recording: Recording, profile: Profile, track: Track, grouping: Grouping, mode: Mode
) -> Iterator[tuple[int, int]]:
    """A thread's stacks and times, from the recording's start to its end, without holes."""
    stack, weight_ns = EMPTY_STACK, 0
    end_ns = recording.start_ns
    for run in track.runs():
        hole_ns = max(0, run.start_ns - end_ns)
        time_ns = time_in_mode(mode, run)
        end_ns += hole_ns + time_ns
        for next_stack, next_weight_ns in (
            (EMPTY_STACK, hole_ns),
            (grouping.stack_of_run(profile, run), time_ns),
        ):
            if not next_weight_ns:
                continue
            if next_stack != stack:
                if weight_ns:
                    yield stack, weight_ns
                stack, weight_ns = next_stack, 0
            weight_ns += next_weight_ns
    rest_ns = max(0, recording.end_ns - end_ns)
    if stack == EMPTY_STACK:
        weight_ns += rest_ns
        rest_ns = 0
    if weight_ns:
        yield stack, weight_ns
    if rest_ns:
        yield EMPTY_STACK, rest_ns


class _StackText:
    """Stack ID -> `[1,2,3]`. Caches recent texts up to a limit, because stacks can be deep."""

    def __init__(self, grouping: Grouping, frame_ids: list[int]) -> None:
        self._grouping = grouping
        self._frame_texts = [str(frame) for frame in frame_ids]
        self._known: dict[int, str] = {}
        self._characters = 0

    def __call__(self, stack: int) -> str:
        text = self._known.get(stack)
        if text is None:
            frames = [self._frame_texts[frame] for frame in self._grouping.path(stack)]
            text = f"[{','.join(frames)}]"
            if self._characters > _CACHED_CHARACTERS:
                self._known.clear()
                self._characters = 0
            self._known[stack] = text
            self._characters += len(text)
        return text


def _write_field(stream: TextIO, name: str, value: Any) -> None:
    stream.write(f"{json.dumps(name)}:{json.dumps(value)},")


def _frame(label: FrameLabel) -> str:
    frame: dict[str, str | int] = {"name": label.name}
    if label.file:
        frame["file"] = label.file
    if label.line is not None:
        frame["line"] = label.line
    return json.dumps(frame)
