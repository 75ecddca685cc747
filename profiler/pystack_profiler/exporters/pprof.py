"""pprof's profile.proto, compressed. Values of each stack and thread: samples, wall, cpu, gil, runnable.

Locations are lines of functions. Labels are `thread`, `thread_id`, `process` and `pid`. The format has no
times of samples.
"""

from __future__ import annotations

import gzip
from typing import BinaryIO

from ..grouping import FrameLabel, Grouping
from ..naming import process_title, recording_title
from ..profile import Profile, Recording
from ..stats import losses
from ..track import EMPTY_STACK, Track
from ..view import DEFAULT_VIEW, View, time_in_mode
from .protobuf import bytes_field, number_field, numbers_field

#: The name, and the unit, of each value.
_VALUES = (
    ("samples", "count"),
    ("wall", "nanoseconds"),
    ("cpu", "nanoseconds"),
    ("gil", "nanoseconds"),
    ("runnable", "nanoseconds"),
)
_MAPPING = 1  # the only one: all functions, files and lines are known


def export(recording: Recording, stream: BinaryIO, view: View = DEFAULT_VIEW) -> None:
    # No name and no time in the gzip header: the same recording is always the same file.
    with gzip.GzipFile("", "wb", 6, stream, mtime=0) as file:
        _Writer(recording, view).write(file)


class _Writer:
    def __init__(self, recording: Recording, view: View) -> None:
        self._recording = recording
        self._view = view
        self._grouping = Grouping(recording.profiles, "line", full_filenames=view.full_filenames)
        self._strings = {"": 0}

    def write(self, file: gzip.GzipFile) -> None:
        """In any order of fields; the texts last, when all are known."""
        recording = self._recording
        for name, unit in _VALUES:
            file.write(bytes_field(1, self._value_type(name, unit)))
        for profile, track in recording.tracks():
            for stack, values in _values(profile, track, self._grouping).items():
                file.write(bytes_field(2, self._sample(profile, track, stack, values)))
        program = self._string(recording.command[0] if recording.command else "python")
        has_all = b"".join(number_field(field, 1) for field in (7, 8, 9))
        file.write(bytes_field(3, number_field(1, _MAPPING) + number_field(5, program) + has_all))
        functions: dict[FrameLabel, int] = {}
        for frame, label in enumerate(self._grouping.frames):
            function = functions.setdefault(label._replace(at=None), len(functions) + 1)
            line = bytes_field(4, number_field(1, function) + number_field(2, label.line or 0))
            file.write(
                bytes_field(4, number_field(1, frame + 1) + number_field(2, _MAPPING) + line)
            )
        for label, function in functions.items():
            file.write(bytes_field(5, self._function(function, label)))
        file.write(number_field(9, recording.start_time_ns))
        file.write(number_field(10, recording.duration_ns))
        if recording.rate_hz:
            file.write(bytes_field(11, self._value_type("wall", "nanoseconds")))
            file.write(number_field(12, round(1e9 / recording.rate_hz)))
        comments = (recording_title(recording), losses(recording.stats))
        file.write(numbers_field(13, map(self._string, comments)))
        file.write(number_field(14, self._string(self._view.mode)))
        for text in self._strings:
            file.write(bytes_field(6, text.encode("utf-8", "backslashreplace")))

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _value_type(self, name: str, unit: str) -> bytes:
        return number_field(1, self._string(name)) + number_field(2, self._string(unit))

    def _sample(self, profile: Profile, track: Track, stack: int, values: list[int]) -> bytes:
        path = [frame + 1 for frame in reversed(self._grouping.path(stack))]
        who = track.identity
        labels = [
            self._label("thread", text=who.name),
            self._label("thread_id", number=who.tid),
            self._label("process", text=process_title(profile)),
            self._label("pid", number=profile.process.pid),
        ]
        return numbers_field(1, path) + numbers_field(2, values) + b"".join(labels)

    def _label(self, key: str, *, text: str = "", number: int = 0) -> bytes:
        value = number_field(2, self._string(text)) + number_field(3, number)
        return bytes_field(3, number_field(1, self._string(key)) + value) if value else b""

    def _function(self, function: int, label: FrameLabel) -> bytes:
        name, file = self._string(label.name), self._string(label.file)
        # pprof takes names that equal the system's for C++ and removes what is in angle brackets.
        system_name = self._string(f"{label.file}:{label.function}")
        return b"".join(
            number_field(field, number)
            for field, number in (
                *((1, function), (2, name), (3, system_name)),
                *((4, file), (5, label.first_line or 0)),
            )
        )


def _values(profile: Profile, track: Track, grouping: Grouping) -> dict[int, list[int]]:
    """The values of each stack."""
    sums: dict[int, list[int]] = {}
    for run in track.runs():
        stack = grouping.stack_of_run(profile, run)
        if stack == EMPTY_STACK:
            continue
        values = sums.setdefault(stack, [0] * len(_VALUES))
        values[0] += run.samples
        values[1] += time_in_mode("wall", run)
        values[2] += time_in_mode("cpu", run)
        values[3] += time_in_mode("gil", run)
        values[4] += time_in_mode("runnable", run)
    return sums
