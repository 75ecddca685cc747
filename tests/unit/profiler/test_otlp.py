"""The OTLP file, decoded by OpenTelemetry's own package, and its indices and times checked."""

from __future__ import annotations

import io
from typing import Any

import pytest

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.sampling import FrameKind
from pystack_profiler.exporters import OTLP
from pystack_profiler.profile import Recording
from pystack_profiler.view import MODES, View
from random_recordings import random_recording

START_NS = 1_790_000_000 * 10**9


def decoded(recording: Recording, view: View | None = None) -> Any:
    from opentelemetry.proto.profiles.v1development import profiles_pb2

    stream = io.BytesIO()
    OTLP.export(recording, stream, view or View())
    data = profiles_pb2.ProfilesData.FromString(stream.getvalue())
    check_indices(data)
    return data


def profiles_of(data: Any) -> list[Any]:
    return [
        profile
        for resource in data.resource_profiles
        for scope in resource.scope_profiles
        for profile in scope.profiles
    ]


def check_indices(data: Any) -> None:
    """The rules of profiles.proto: first rows are empty, indices are in range, no row is there twice, and each is used."""
    tables = data.dictionary
    sizes = {field.name: len(getattr(tables, field.name)) for field in tables.DESCRIPTOR.fields}
    assert min(sizes.values()) >= 1
    used: dict[str, set[int]] = {name: {0} for name in sizes}

    def use(table: str, *indices: int) -> None:
        assert all(0 <= index < sizes[table] for index in indices)
        used[table].update(indices)

    for name in sizes:
        rows = getattr(tables, name)
        assert not rows[0] if name == "string_table" else not rows[0].ListFields()
        texts = [row if isinstance(row, str) else row.SerializeToString() for row in rows]
        assert len(texts) == len(set(texts)), name
    for profile in profiles_of(data):
        for value_type in (profile.sample_type, profile.period_type):
            use("string_table", value_type.type_strindex, value_type.unit_strindex)
        for sample in profile.samples:
            use("stack_table", sample.stack_index)
            use("attribute_table", *sample.attribute_indices)
            use("link_table", sample.link_index)
    for stack in tables.stack_table:
        use("location_table", *stack.location_indices)
    for location in tables.location_table:
        use("mapping_table", location.mapping_index)
        use("function_table", *(line.function_index for line in location.lines))
        use("attribute_table", *location.attribute_indices)
    for mapping in tables.mapping_table:
        use("string_table", mapping.filename_strindex)
        use("attribute_table", *mapping.attribute_indices)
    for function in tables.function_table:
        use("string_table", function.name_strindex, function.filename_strindex)
        use("string_table", function.system_name_strindex)
    for attribute in tables.attribute_table:
        use("string_table", attribute.key_strindex, attribute.unit_strindex)
    for name, size in sizes.items():
        assert used[name] == set(range(size)), name


def texts(data: Any, value_type: Any) -> tuple[str, str]:
    strings = data.dictionary.string_table
    return strings[value_type.type_strindex], strings[value_type.unit_strindex]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", MODES)
def test_types_periods_and_times(seed: int, mode: str) -> None:
    recording = random_recording(seed, processes=1 + seed % 2)
    recording.start_time_ns = START_NS
    data = decoded(recording, View(mode))  # type: ignore[arg-type]
    assert len(data.resource_profiles) == len(recording.profiles)
    first = [texts(data, one.sample_type) for one in profiles_of(data)]
    assert first[0] == (mode, "nanoseconds")
    assert first[: len(first) // len(recording.profiles)][-1] == ("samples", "count")
    for profile in profiles_of(data):
        assert texts(data, profile.period_type) == ("wall", "nanoseconds")
        assert profile.period == 10**7
        assert profile.duration_nano == recording.duration_ns
        end_ns = profile.time_unix_nano + profile.duration_nano
        identities = [(one.stack_index, *sorted(one.attribute_indices)) for one in profile.samples]
        assert len(identities) == len(set(identities))
        for sample in profile.samples:
            assert len(sample.values) == len(sample.timestamps_unix_nano) > 0
            assert all(
                profile.time_unix_nano <= time_ns < end_ns
                for time_ns in sample.timestamps_unix_nano
            )
    counts = sum(
        sum(sample.values)
        for profile in profiles_of(data)
        if texts(data, profile.sample_type)[0] == "samples"
        for sample in profile.samples
    )
    assert counts == recording.sample_count


def test_native_frames_have_mappings_and_inlined_lines() -> None:
    writer = BatchWriter()
    solve = Frame(
        "solve", "/src/solve.c", -1, 20, FrameKind.NATIVE, "/usr/lib/libsolve.so", "0badc0de", 4660
    )
    path = [Frame("main"), solve, solve._replace(function="dot", line=5, inline_depth=1)]
    writer.sample(writer.thread(0, ""), 10 * MS, 10 * MS, path)
    data = decoded(recording_of(writer, start_ns=1, end_ns=20 * MS))
    tables = data.dictionary
    strings, attributes = tables.string_table, tables.attribute_table
    leaf, root = (tables.location_table[one] for one in tables.stack_table[1].location_indices)
    functions = [tables.function_table[line.function_index] for line in leaf.lines]
    assert [strings[one.name_strindex] for one in functions] == ["dot", "solve"]
    assert [line.line for line in leaf.lines] == [5, 20]
    mapping = tables.mapping_table[leaf.mapping_index]
    assert strings[mapping.filename_strindex] == "/usr/lib/libsolve.so"
    assert leaf.address == 4660
    assert (mapping.memory_start, mapping.memory_limit) == (0, 0)  # not known
    (build_id,) = mapping.attribute_indices
    assert strings[attributes[build_id].key_strindex] == "process.executable.build_id.gnu"
    assert attributes[build_id].value.string_value == "0badc0de"
    kinds = [attributes[one.attribute_indices[0]].value.string_value for one in (leaf, root)]
    assert kinds == ["native", "cpython"]
    assert root.mapping_index == 0
    thread = {
        strings[attributes[one].key_strindex]: attributes[one].value
        for one in profiles_of(data)[0].samples[0].attribute_indices
    }
    assert thread["thread.id"].WhichOneof("value") == "int_value"


def test_what_is_hostile_is_valid_text() -> None:
    writer = BatchWriter()
    frames = [Frame("\udc80\0\x1b", "\udcff", -1, -1)]
    writer.sample(writer.thread(2**31, "\udc80\0"), 2**61, 2**60, frames)
    recording = recording_of(writer)
    recording.profiles[0].process.command = ("\udc80", "\x1b")
    recording.profiles[0].process.python_version = "\udc80"
    (profile, *_) = profiles_of(decoded(recording))
    assert profile.samples[0].values == [2**60]
    assert profiles_of(decoded(recording_of(BatchWriter())))[0].samples == []
