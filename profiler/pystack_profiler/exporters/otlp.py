"""OpenTelemetry's profiles (OTLP, `ProfilesData` of proto 1.10, package v1development), not compressed.

One resource per process, with a profile for each mode that was measured, the view's mode first, and one of
the numbers of samples. Samples have the Unix time at which each stretch of equal samples began. A message begins
with its length, so a process is in memory until it is written. Facts about the format:
opentelemetry/proto/profiles/v1development/profiles.proto of open-telemetry/opentelemetry-proto.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import BinaryIO

from pystack.render.escape import escape

from ..grouping import FrameLabel, Grouping, LabelKind
from ..naming import process_name
from ..profile import Profile, Recording
from ..track import EMPTY_STACK
from ..view import DEFAULT_VIEW, MODES, View, state_words, time_in_mode, was_measured
from .locations import Locations, Module
from .protobuf import (
    bytes_field,
    fixed_field,
    fixed_numbers_field,
    number_field,
    numbers_field,
)

_SAMPLES = "samples"  # besides the modes: their number

#: Values of OpenTelemetry's attribute `profile.frame.type`, and one of ours.
_FRAME_TYPES: dict[LabelKind, str] = {
    "python": "cpython",
    "library": "cpython",
    "native": "native",
    "interpreter": "native",
    "gc": "pystack",
    "wait": "pystack",
    "marker": "pystack",
}

#: (stack, attributes): what makes samples one.
_Identity = tuple[int, tuple[int, ...]]


def export(
    recording: Recording,
    stream: BinaryIO,
    view: View = DEFAULT_VIEW,
    *,
    service_name: str | None = None,
) -> None:
    """`service_name`: default is the name of each process."""
    writer = _Writer(recording, view, service_name)
    for profile in recording.profiles:
        stream.write(bytes_field(1, writer.resource(profile)))
    stream.write(bytes_field(2, writer.dictionary()))


class _Series:
    """The values of one identity, and when each began."""

    def __init__(self) -> None:
        self.values = array("Q")
        self.times_ns = array("Q")


class _Writer:
    def __init__(self, recording: Recording, view: View, service_name: str | None) -> None:
        self._recording = recording
        self._service_name = service_name
        self._grouping = Grouping(recording.profiles, "address", full_filenames=view.full_filenames)
        self._locations = Locations(self._grouping)
        self._strings = {"": 0}
        self._attributes: dict[bytes, int] = {b"": 0}  # encoded
        self._stacks: dict[int, int] = {EMPTY_STACK: 0}
        self._stack_rows: list[bytes] = [b""]
        measured = [mode for mode in MODES if was_measured(mode, recording.states)]
        self._types = [*sorted(measured, key=lambda mode: mode != view.mode), _SAMPLES]

    def resource(self, profile: Profile) -> bytes:
        """`ResourceProfiles` of a process."""
        process = profile.process
        name = self._service_name or process_name(process.command)
        attributes = [
            _key_value("service.name", _text_value(name)),
            _key_value("process.pid", _number_value(process.pid)),
            _key_value("process.runtime.name", _text_value("cpython")),
        ]
        if process.python_version:
            version = _text_value(escape(process.python_version))
            attributes.append(_key_value("process.runtime.version", version))
        if process.command:
            items = [bytes_field(1, _text_value(escape(text))) for text in process.command]
            command = bytes_field(5, b"".join(items))
            attributes.append(_key_value("process.command_args", command))
        resource = b"".join(bytes_field(1, attribute) for attribute in attributes)
        scope = _text_field(1, "pystack") + _text_field(2, self._recording.tool_version)
        profiles = [bytes_field(2, one) for one in self._profiles(profile)]
        scoped = bytes_field(1, scope) + b"".join(profiles)
        return bytes_field(1, resource) + bytes_field(2, scoped)

    def _profiles(self, profile: Profile) -> Iterable[bytes]:
        recording = self._recording
        start_ns = recording.unix_time_ns(recording.start_ns)
        about = fixed_field(3, start_ns) + number_field(4, recording.duration_ns)
        if recording.rate_hz:
            about += bytes_field(5, self._value_type("wall"))
            about += number_field(6, round(1e9 / recording.rate_hz))
        series = self._series(profile)
        for name in self._types:
            samples = [
                bytes_field(2, self._sample(identity, one))
                for identity, one in series[name].items()
            ]
            yield bytes_field(1, self._value_type(name)) + b"".join(samples) + about

    def _series(self, profile: Profile) -> dict[str, dict[_Identity, _Series]]:
        found: dict[str, dict[_Identity, _Series]] = {name: {} for name in self._types}
        latest_ns = self._recording.end_ns - 1
        for track in profile.tracks:
            who = track.identity
            thread = (
                self._attribute("thread.id", _number_value(who.tid)),
                self._attribute("thread.name", _text_value(escape(who.name))),
            )
            attributes_of: dict[tuple[int, str], tuple[int, ...]] = {}
            for run in track.runs():
                stack = self._grouping.stack_of_run(profile, run)
                key = run.state, self._locations.task(stack)
                attributes = attributes_of.get(key)
                if attributes is None:
                    attributes = attributes_of[key] = (*thread, *self._labels(*key))
                time_ns = self._recording.unix_time_ns(min(run.start_ns, latest_ns))
                for name, series in found.items():
                    value = run.samples if name == _SAMPLES else time_in_mode(name, run)  # type: ignore[arg-type]
                    if value:
                        one = series.setdefault((stack, attributes), _Series())
                        one.values.append(value)
                        one.times_ns.append(time_ns)
        return found

    def _labels(self, state: int, task: str) -> list[int]:
        words = state_words(state) | ({"task": task} if task else {})
        return [self._attribute(f"pystack.{key}", _text_value(words[key])) for key in words]

    def _sample(self, identity: _Identity, series: _Series) -> bytes:
        stack, attributes = identity
        return b"".join(
            (
                number_field(1, self._stack(stack)),
                numbers_field(2, attributes),
                numbers_field(4, series.values),
                fixed_numbers_field(5, series.times_ns),
            )
        )

    def _stack(self, stack: int) -> int:
        known = self._stacks.get(stack)
        if known is None:
            known = self._stacks[stack] = len(self._stacks)
            self._stack_rows.append(numbers_field(1, self._locations.of_stack(stack)))
        return known

    def dictionary(self) -> bytes:
        """`ProfilesDictionary`; call this last. The first row of each table is empty."""
        locations = [self._location(labels) for labels in self._locations.all()]
        mappings = [self._mapping(module) for module in self._locations.modules()]
        functions = [self._function(label) for label in self._locations.functions()]
        tables = (
            (1, [b"", *mappings]),
            (2, [b"", *locations]),
            (3, [b"", *functions]),
            (4, [b""]),  # links to traces
            (7, self._stack_rows),
            (6, self._attributes),
            (5, [text.encode("utf-8", "backslashreplace") for text in self._strings]),
        )
        return b"".join(bytes_field(field, row) for field, rows in tables for row in rows)

    def _mapping(self, module: Module) -> bytes:
        path, build_id = module
        # Where it was loaded is not recorded: addresses are those of the file, and the range is 0.
        row = number_field(4, self._string(path))
        if not build_id:
            return row
        key = "process.executable.build_id.gnu"
        return row + numbers_field(5, [self._attribute(key, _text_value(build_id))])

    def _location(self, labels: list[FrameLabel]) -> bytes:
        module, code = self._locations.module(labels[0]), labels[0].code
        kind = self._attribute("profile.frame.type", _text_value(_FRAME_TYPES[labels[0].kind]))
        lines = [
            number_field(1, self._locations.function(label)) + number_field(2, label.line or 0)
            for label in labels
        ]
        return b"".join(
            (
                number_field(1, module),
                number_field(2, code.address) if code is not None else b"",
                *(bytes_field(3, line) for line in lines),
                numbers_field(4, [kind]),
            )
        )

    def _function(self, label: FrameLabel) -> bytes:
        return (
            number_field(1, self._string(label.name))
            + number_field(3, self._string(label.file))
            + number_field(4, label.first_line or 0)
        )

    def _value_type(self, name: str) -> bytes:
        unit = "count" if name == _SAMPLES else "nanoseconds"
        return number_field(1, self._string(name)) + number_field(2, self._string(unit))

    def _attribute(self, key: str, value: bytes) -> int:
        row = number_field(1, self._string(key)) + bytes_field(2, value)
        return self._attributes.setdefault(row, len(self._attributes))

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))


def _key_value(key: str, value: bytes) -> bytes:
    return _text_field(1, key) + bytes_field(2, value)


def _text_value(text: str) -> bytes:
    return _text_field(1, text)


def _number_value(number: int) -> bytes:
    # Also 0 is written: without it, the value has no type.
    return number_field(3, number) or b"\x18\x00"


def _text_field(field: int, text: str) -> bytes:
    return bytes_field(field, text.encode("utf-8", "backslashreplace"))
