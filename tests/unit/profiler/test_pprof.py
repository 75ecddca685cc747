"""The pprof file, read by a decoder of its own and by Go's pprof (`python tools/viewers.py` fetches it)."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest

import viewers
from format_readers import Pprof, messages, number, packed
from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.sampling import FrameKind, SampleState
from pystack_profiler import function_totals
from pystack_profiler.exporters import PPROF, by_suffix, is_foreign
from pystack_profiler.exporters.protobuf import number_field, numbers_field, varint
from pystack_profiler.profile import Recording
from pystack_profiler.sinks import FileSink
from pystack_profiler.view import MODES, View
from random_recordings import random_recording


def decoded_of(recording: Recording, view: View | None = None) -> Pprof:
    stream = io.BytesIO()
    PPROF.export(recording, stream, view or View())
    return Pprof(stream.getvalue())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", MODES)
def test_totals_are_the_recordings(seed: int, mode: str) -> None:
    recording = random_recording(seed, processes=1 + seed % 2)
    decoded = decoded_of(recording, View(mode))  # type: ignore[arg-type]
    place = decoded.types.index(mode)
    own: dict[str, int] = {}
    for path, values, _ in decoded.samples:
        name = decoded.locations[path[0]][0]
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
    decoded = decoded_of(recording)
    found = set()
    for _, _, named in decoded.samples:
        found.add((named["thread"], named["thread_id"], named["process"], named["pid"]))
    assert found <= {
        (track.identity.name, track.identity.tid, "app.py 100", 100)
        for _, track in recording.tracks()
    }


def test_tasks_are_labels() -> None:
    writer = BatchWriter()
    thread = writer.thread(1, "MainThread")
    task = Frame("<task req-*>", "", -1, -1, kind=FrameKind.MARKER)
    writer.sample(thread, 10 * MS, 10 * MS, [Frame("run"), task, Frame("handler")])
    writer.sample(thread, 20 * MS, 10 * MS, [Frame("run")])
    labels = [named for _, _, named in decoded_of(recording_of(writer, start_ns=1)).samples]
    assert [named.get("task") for named in labels] == ["req-*", None]


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
    decoded = decoded_of(recording)
    assert decoded.samples[0][1][1] == 2**60
    assert decoded_of(recording_of(BatchWriter())).samples == []


def test_numbers_of_the_format() -> None:
    assert varint(300) == b"\xac\x02"  # the example of its documentation
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert number_field(1, 150) == b"\x08\x96\x01"
    assert numbers_field(6, [3, 270, 86942]) == b"\x32\x06\x03\x8e\x02\x9e\xa7\x05"


def test_the_suffix_is_not_that_of_another_program() -> None:
    assert by_suffix("x.pb.gz") is PPROF
    assert not is_foreign("x.pb.gz")
    assert is_foreign("x.txt.gz")


def native_recording() -> Recording:
    """`main` calls `solve`, into which `dot` and then `add` were inlined, and `memcpy` of another library."""
    library = {"kind": FrameKind.NATIVE, "module": "/usr/lib/libsolve.so", "build_id": "0badc0de"}
    main = Frame("main", line=7)
    solve = Frame("solve", "/src/solve.c", -1, 20, address=0x1234, **library)  # type: ignore[arg-type]
    dot = solve._replace(function="dot", line=5, inline_depth=1)
    add = solve._replace(function="add", line=2, inline_depth=3)
    later = solve._replace(address=0x2000, line=30)
    memcpy = Frame("memcpy", "/lib/libc.so.6", -1, -1, FrameKind.NATIVE, "/lib/libc.so.6", "", 0x99)
    writer = BatchWriter()
    thread = writer.thread(100, "MainThread")
    held = SampleState.GIL_KNOWN | SampleState.HOLDS_GIL
    for second, path in enumerate(([main, solve, dot, add], [main, later, memcpy], [main]), 1):
        writer.sample(thread, second * 1000 * MS, 1000 * MS, path, held, count=100)
    return recording_of(writer, start_ns=1, end_ns=3000 * MS, attempted=300, taken=300)


def test_inlined_functions_are_lines_of_one_location() -> None:
    decoded = decoded_of(native_recording())
    paths = [[decoded.locations[location] for location in path] for path, _, _ in decoded.samples]
    assert paths == [
        [["add", "dot", "solve"], ["main"]],
        [["memcpy"], ["solve"], ["main"]],
        [["main"]],
    ]


def test_an_inlined_call_elsewhere_is_another_location() -> None:
    """Frames between them may be hidden, so a location can begin with an inlined function."""
    caller = Frame("solve", kind=FrameKind.NATIVE, module="/lib/a.so", address=1)
    inlined = caller._replace(function="dot", address=2, inline_depth=1)
    other = inlined._replace(module="/lib/b.so", inline_depth=2)
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [caller, inlined, other])
    decoded = decoded_of(recording_of(writer))
    ((path, _, _),) = decoded.samples
    assert [decoded.locations[location] for location in path] == [["dot"], ["dot"], ["solve"]]


def test_native_modules_are_mappings() -> None:
    decoded = decoded_of(native_recording())
    mappings = {
        number(one, 1): (decoded.strings[number(one, 5)], decoded.strings[number(one, 6)])
        for one in messages(decoded.whole, 3)
    }
    assert mappings == {
        1: ("python", ""),
        2: ("/usr/lib/libsolve.so", "0badc0de"),
        3: ("/lib/libc.so.6", ""),
    }
    # Where they were loaded is not known, which is said.
    assert all(number(one, field) == 0 for one in messages(decoded.whole, 3) for field in (2, 3, 4))
    comments = [decoded.strings[place] for place in packed(decoded.whole, 13)]
    assert any("addresses of native code are those of its file" in one for one in comments)
    places = {
        decoded.locations[number(one, 1)][0]: (number(one, 2), number(one, 3))
        for one in messages(decoded.whole, 4)
    }
    assert places == {"add": (2, 0x1234), "solve": (2, 0x2000), "memcpy": (3, 0x99), "main": (1, 0)}


def test_states_are_labels() -> None:
    (_, _, labels), *_ = decoded_of(native_recording()).samples
    assert labels["gil"] == "held"
    assert "state" not in labels  # it was not measured
    recording = random_recording(1)
    for _, values, labels in decoded_of(recording).samples:
        if labels.get("gil") in ("waited", "released"):
            assert values[3] == 0
        if labels.get("state") == "off CPU":
            assert values[2] == 0


def top_of(path: Path, mode: str) -> dict[str, tuple[int, int]]:
    """Self and total nanoseconds of each function, in the words of Go's pprof."""
    command = [viewers.pprof(), "-top", "-unit=ns", f"-sample_index={mode}", "-nodecount=0"]
    options = ["-nodefraction=0", "-symbolize=none"]
    result = subprocess.run(
        [*command, *options, str(path)], check=True, capture_output=True, text=True, timeout=60
    )
    row = re.compile(r"\s*(\d+)(?:ns)?\s+[\d.]+%\s+[\d.]+%\s+(\d+)(?:ns)?\s+[\d.]+%\s+(.*)")
    rows = filter(None, map(row.fullmatch, result.stdout.splitlines()))
    return {match[3].removesuffix(" (inline)"): (int(match[1]), int(match[2])) for match in rows}


@pytest.mark.parametrize("mode", ["wall", "cpu", "gil", "runnable"])
def test_gos_pprof_has_the_same_table(mode: str, tmp_path: Path) -> None:
    recordings = [random_recording(seed, processes=1 + seed % 2) for seed in (1, 4)]
    for number_of, recording in enumerate((*recordings, native_recording())):
        path = tmp_path / f"{number_of}.pb.gz"
        FileSink(str(path), PPROF).write(recording)
        expected = {
            total.label.name: (total.self_ns, total.total_ns)
            for total in function_totals(recording, View(mode))  # type: ignore[arg-type]
        }
        found = top_of(path, mode)
        assert {name: times for name, times in found.items() if times[1]} == expected
