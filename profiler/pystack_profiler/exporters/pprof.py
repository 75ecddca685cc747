"""pprof's profile.proto, compressed. Values of each stack and thread: samples, wall, cpu, gil, runnable.

Locations are lines of Python functions, and addresses of native code with the functions that were inlined
there. Each native module is a mapping with its build ID. Where it was loaded is not recorded, so its range is 0 (unknown),
and addresses are those of its file; a comment says so. Labels are `thread`, `thread_id`, `process`, `pid`, `task`, `state` and `gil`. The format has no times of samples.
"""

from __future__ import annotations

import gzip
from typing import BinaryIO

from ..grouping import FrameLabel, Grouping
from ..naming import process_title, recording_title
from ..profile import Profile, Recording
from ..stats import losses
from ..track import Track
from ..view import DEFAULT_VIEW, MODES, View, state_words, time_in_mode
from .locations import Locations, Module
from .protobuf import bytes_field, number_field, numbers_field

#: The name, and the unit, of each value.
VALUES = (("samples", "count"), *((mode, "nanoseconds") for mode in MODES))
_PROGRAM = 1  # the mapping of all that is not native code; native modules follow
_ADDRESSES = "addresses of native code are those of its file: where it was loaded was not recorded"


def export(recording: Recording, stream: BinaryIO, view: View = DEFAULT_VIEW) -> None:
    # No name and no time in the gzip header: the same recording is always the same file.
    with gzip.GzipFile("", "wb", 6, stream, mtime=0) as file:
        _Writer(recording, view).write(file)


class _Writer:
    def __init__(self, recording: Recording, view: View) -> None:
        self._recording = recording
        self._view = view
        self._grouping = Grouping(recording.profiles, "address", full_filenames=view.full_filenames)
        self._locations = Locations(self._grouping)
        self._strings = {"": 0}

    def write(self, file: gzip.GzipFile) -> None:
        """In any order of fields; the texts last, when all are known."""
        recording = self._recording
        for name, unit in VALUES:
            file.write(bytes_field(1, self._value_type(name, unit)))
        for profile, track in recording.tracks():
            for (stack, state), values in _values(profile, track, self._grouping).items():
                file.write(bytes_field(2, self._sample(profile, track, stack, state, values)))
        for number, labels in enumerate(self._locations.all(), 1):
            file.write(bytes_field(4, self._location(number, labels)))
        program = recording.command[0] if recording.command else "python"
        modules = [(program, ""), *self._locations.modules()]
        for number, module in enumerate(modules, _PROGRAM):
            file.write(bytes_field(3, self._mapping(number, module)))
        for number, label in enumerate(self._locations.functions(), 1):
            file.write(bytes_field(5, self._function(number, label)))
        file.write(number_field(9, recording.start_time_ns))
        file.write(number_field(10, recording.duration_ns))
        if recording.rate_hz:
            file.write(bytes_field(11, self._value_type("wall", "nanoseconds")))
            file.write(number_field(12, round(1e9 / recording.rate_hz)))
        comments = [recording_title(recording), losses(recording.stats)]
        if len(modules) > 1:
            comments.append(_ADDRESSES)
        file.write(numbers_field(13, map(self._string, comments)))
        file.write(number_field(14, self._string(self._view.mode)))
        for text in self._strings:
            file.write(bytes_field(6, text.encode("utf-8", "backslashreplace")))

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _value_type(self, name: str, unit: str) -> bytes:
        return number_field(1, self._string(name)) + number_field(2, self._string(unit))

    def _sample(
        self, profile: Profile, track: Track, stack: int, state: int, values: list[int]
    ) -> bytes:
        who = track.identity
        labels = [
            self._label("thread", text=who.name),
            self._label("thread_id", number=who.tid),
            self._label("process", text=process_title(profile)),
            self._label("pid", number=profile.process.pid),
            self._label("task", text=self._locations.task(stack)),
            *(self._label(key, text=text) for key, text in state_words(state).items()),
        ]
        locations = numbers_field(1, self._locations.of_stack(stack))
        return locations + numbers_field(2, values) + b"".join(labels)

    def _mapping(self, number: int, module: Module) -> bytes:
        path, build_id = module
        # All names are known: viewers need not look for symbols.
        has_all = b"".join(number_field(field, 1) for field in (7, 8, 9, 10))
        names = number_field(5, self._string(path)) + number_field(6, self._string(build_id))
        return number_field(1, number) + names + has_all

    def _location(self, number: int, labels: list[FrameLabel]) -> bytes:
        module, code = self._locations.module(labels[0]), labels[0].code
        lines = [
            number_field(1, self._locations.function(label)) + number_field(2, label.line or 0)
            for label in labels
        ]
        address = number_field(3, code.address) if code is not None else b""
        mapping = number_field(2, _PROGRAM + module)
        return (
            number_field(1, number)
            + mapping
            + address
            + b"".join(bytes_field(4, line) for line in lines)
        )

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


def _values(profile: Profile, track: Track, grouping: Grouping) -> dict[tuple[int, int], list[int]]:
    """The values of each stack and state."""
    sums: dict[tuple[int, int], list[int]] = {}
    for run in track.runs():
        stack = grouping.stack_of_run(profile, run)
        values = sums.setdefault((stack, run.state), [0] * len(VALUES))
        values[0] += run.samples
        for place, mode in enumerate(MODES, 1):
            values[place] += time_in_mode(mode, run)
    return sums
