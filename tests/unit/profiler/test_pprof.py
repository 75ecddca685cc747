"""The pprof file, read by a decoder of its own; `pprof` of Go was asked by hand."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator

import pytest

from profiler_fakes import BatchWriter, Frame, recording_of
from pystack_profiler import function_totals
from pystack_profiler.exporters import PPROF, by_suffix, is_foreign
from pystack_profiler.exporters.protobuf import number_field, numbers_field, varint
from pystack_profiler.profile import Recording
from pystack_profiler.view import MODES, View
from random_recordings import random_recording

Fields = list[tuple[int, int | bytes]]


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return number, at


def fields(data: bytes) -> Fields:
    found: Fields = []
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if key & 7 == 2:
            found.append((key >> 3, data[at : at + value]))
            at += value
        else:
            assert key & 7 == 0
            found.append((key >> 3, value))
    return found


def messages(whole: Fields, number: int) -> list[Fields]:
    return [fields(value) for field, value in whole if field == number and isinstance(value, bytes)]


def number(message: Fields, wanted: int) -> int:
    (value,) = [value for field, value in message if field == wanted] or [0]
    assert isinstance(value, int)
    return value


def packed(message: Fields, wanted: int) -> Iterator[int]:
    for field, value in message:
        at = 0
        while field == wanted and isinstance(value, bytes) and at < len(value):
            one, at = read_varint(value, at)
            yield one


class Decoded:
    def __init__(self, recording: Recording, view: View | None = None) -> None:
        stream = io.BytesIO()
        PPROF.export(recording, stream, view or View())
        self.whole = fields(gzip.decompress(stream.getvalue()))
        self.strings = [
            value.decode() for field, value in self.whole if field == 6 and isinstance(value, bytes)
        ]
        assert self.strings[0] == ""
        functions = {
            number(one, 1): self.strings[number(one, 2)] for one in messages(self.whole, 5)
        }
        self.locations = {
            number(one, 1): functions[number(messages(one, 4)[0], 1)]
            for one in messages(self.whole, 4)
        }
        self.types = [self.strings[number(one, 1)] for one in messages(self.whole, 1)]
        self.samples = [
            ([*packed(one, 1)], [*packed(one, 2)], messages(one, 3))
            for one in messages(self.whole, 2)
        ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", MODES)
def test_totals_are_the_recordings(seed: int, mode: str) -> None:
    recording = random_recording(seed, processes=1 + seed % 2)
    decoded = Decoded(recording, View(mode))  # type: ignore[arg-type]
    place = decoded.types.index(mode)
    own: dict[str, int] = {}
    for path, values, _ in decoded.samples:
        name = decoded.locations[path[0]]
        own[name] = own.get(name, 0) + values[place]
    known: dict[str, int] = {}
    for total in function_totals(recording, View(mode)):  # type: ignore[arg-type]
        known[total.label.name] = known.get(total.label.name, 0) + total.self_ns
    assert {name: ns for name, ns in own.items() if ns} == {
        name: ns for name, ns in known.items() if ns
    }
    assert decoded.strings[number(decoded.whole, 14)] == mode
    assert number(decoded.whole, 10) == recording.duration_ns
    assert number(decoded.whole, 12) == 10**7


def test_threads_are_labels() -> None:
    recording = random_recording(3)
    decoded = Decoded(recording)
    found = set()
    for _, _, labels in decoded.samples:
        named = {
            decoded.strings[number(one, 1)]: decoded.strings[number(one, 2)] or number(one, 3)
            for one in labels
        }
        found.add((named["thread"], named["thread_id"], named["process"], named["pid"]))
    assert found <= {
        (track.identity.name, track.identity.tid, "app.py 100", 100)
        for _, track in recording.tracks()
    }


def test_the_same_recording_is_the_same_file() -> None:
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        PPROF.export(random_recording(1), stream)
    assert streams[0].getvalue() == streams[1].getvalue()


def test_strange_names_and_numbers() -> None:
    writer = BatchWriter()
    writer.sample(
        writer.thread(2**31, "\udc80\0"), 2**61, 2**60, [Frame("\udc80\0\x1b", "\udcff", -1, -1)]
    )
    recording = recording_of(writer)
    recording.command = ("\udc80",)
    decoded = Decoded(recording)
    assert decoded.samples[0][1][1] == 2**60
    assert Decoded(recording_of(BatchWriter())).samples == []


def test_numbers_of_the_format() -> None:
    assert varint(300) == b"\xac\x02"  # the example of its documentation
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert number_field(1, 150) == b"\x08\x96\x01"
    assert numbers_field(6, [3, 270, 86942]) == b"\x32\x06\x03\x8e\x02\x9e\xa7\x05"


def test_the_suffix_is_not_that_of_another_program() -> None:
    assert by_suffix("x.pb.gz") is PPROF
    assert not is_foreign("x.pb.gz")
    assert is_foreign("x.json.gz")
