from __future__ import annotations

import io
import json
from typing import Any, get_args

import pytest

import viewers
from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.sampling import SampleState
from pystack_profiler import function_totals
from pystack_profiler.exporters import speedscope
from pystack_profiler.profile import Recording
from pystack_profiler.view import MODES, Granularity, Mode, View
from random_recordings import random_recording

MAIN = Frame("main", "/srv/app.py", 1, 5)
WORK = Frame("Shop.work", "/srv/shop.py", 10, 12)
WORK_ELSEWHERE = WORK._replace(line=14)


def exported(
    recording: Recording, granularity: Granularity = "function", mode: Mode = "wall"
) -> dict[str, Any]:
    stream = io.StringIO()
    speedscope.export(recording, stream, View(mode, granularity))
    document: dict[str, Any] = json.loads(stream.getvalue())
    check(document)
    return document


def check(document: dict[str, Any]) -> None:
    """What speedscope's importer relies on beyond its schema."""
    frames = document["shared"]["frames"]
    assert len({json.dumps(frame, sort_keys=True) for frame in frames}) == len(frames)
    assert 0 <= document["activeProfileIndex"] < len(document["profiles"])
    for profile in document["profiles"]:
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(weight >= 0 for weight in profile["weights"])
        assert sum(profile["weights"]) == profile["endValue"] - profile["startValue"]
        assert all(0 <= frame < len(frames) for stack in profile["samples"] for frame in stack)


def small_recording() -> Recording:
    writer = BatchWriter()
    main, worker = writer.thread(100, "MainThread"), writer.thread(101, "worker")
    writer.sample(main, 1020 * MS, 10 * MS, [MAIN])
    writer.sample(main, 1030 * MS, 10 * MS, [MAIN, WORK], SampleState.HOLDS_GIL)
    writer.sample(main, 1045 * MS, 15 * MS, [MAIN, WORK_ELSEWHERE])
    writer.sample(worker, 1030 * MS, 10 * MS, [WORK])
    writer.sample(worker, 1060 * MS, 10 * MS, [WORK])
    return recording_of(writer, start_ns=1000 * MS, end_ns=1070 * MS, attempted=6, taken=5, torn=1)


def test_one_profile_a_thread_on_a_common_clock() -> None:
    document = exported(small_recording())
    assert document["$schema"] == speedscope.SCHEMA
    assert document["exporter"] == "pystack@0.1.0"
    assert document["name"] == "python app.py (pid 100, CPython 3.13.5)"
    assert document["shared"]["frames"] == [
        {"name": "main", "file": "/srv/app.py", "line": 1},
        {"name": "Shop.work", "file": "/srv/shop.py", "line": 10},
        {"name": "<not sampled>"},
    ]
    assert document["profiles"] == [
        {
            "type": "sampled",
            "name": "MainThread 100 · app.py 100",
            "unit": "nanoseconds",
            "startValue": 0,
            "endValue": 70 * MS,
            "samples": [[], [0], [0, 1], []],
            "weights": [10 * MS, 10 * MS, 25 * MS, 25 * MS],
        },
        {
            "type": "sampled",
            "name": "worker 101 · app.py 100",
            "unit": "nanoseconds",
            "startValue": 0,
            "endValue": 70 * MS,
            "samples": [[], [1], [2], [1], []],
            "weights": [20 * MS, 10 * MS, 20 * MS, 10 * MS, 10 * MS],
        },
    ]


def test_by_line_each_line_is_a_frame() -> None:
    document = exported(small_recording(), "line")
    assert document["shared"]["frames"] == [
        {"name": "main:5", "file": "/srv/app.py", "line": 5},
        {"name": "Shop.work:12", "file": "/srv/shop.py", "line": 12},
        {"name": "Shop.work:14", "file": "/srv/shop.py", "line": 14},
        {"name": "<not sampled>"},
    ]
    assert document["profiles"][0]["samples"] == [[], [0], [0, 1], [0, 2], []]


def test_counts_and_metadata_are_in_the_file() -> None:
    metadata = exported(small_recording())["pystack"]
    assert metadata["schema_version"] == 2
    assert metadata["counts"]["attempted"] == 6
    assert metadata["counts"]["torn"] == 1
    assert metadata["target"]["pid"] == 100
    assert metadata["target"]["command"] == ["python", "app.py"]
    (process,) = metadata["target"]["processes"]
    assert process["python_version"] == "3.13.5"
    assert process["counts"] == metadata["counts"]
    assert metadata["recording"]["duration_ns"] == 70 * MS
    assert metadata["view"] == {
        "mode": "wall",
        "measured_modes": ["wall"],
        "granularity": "function",
    }
    assert [thread["samples"] for thread in metadata["threads"]] == [3, 2]
    assert metadata["threads"][1]["gap_ns"] == 20 * MS


def test_the_busiest_thread_is_shown_first() -> None:
    writer = BatchWriter()
    idle, busy = writer.thread(100), writer.thread(101)
    for tick in range(1, 4):
        writer.sample(idle, tick * MS, MS, [MAIN], SampleState.CPU_KNOWN)
        writer.sample(busy, tick * MS, MS, [MAIN], SampleState.CPU_KNOWN | SampleState.ON_CPU)
    assert exported(recording_of(writer))["activeProfileIndex"] == 1


def test_other_interpreters_are_named() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(100, "x", interpreter_id=2), MS, MS, [MAIN])
    assert (
        exported(recording_of(writer))["profiles"][0]["name"]
        == "x 100 (interpreter 2) · app.py 100"
    )


def test_threads_that_python_does_not_know_are_named() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(101, "worker", interpreter_id=-1), MS, MS, [MAIN])
    document = exported(recording_of(writer))
    assert document["profiles"][0]["name"] == "worker 101 (not a Python thread) · app.py 100"
    assert document["pystack"]["threads"][0]["interpreter_id"] is None


def test_time_outside_the_mode_is_a_gap() -> None:
    document = exported(small_recording(), mode="gil")
    assert document["profiles"][0]["samples"] == [[], [0, 1], []]
    assert document["profiles"][0]["weights"] == [20 * MS, 10 * MS, 40 * MS]
    assert document["profiles"][1]["samples"] == [[]]


def test_who_waited_for_the_gil_is_in_the_file() -> None:
    known = SampleState.GIL_KNOWN
    writer = BatchWriter()
    holder, waiter = writer.thread(100, "holder"), writer.thread(101, "waiter")
    writer.sample(holder, 10 * MS, 10 * MS, [MAIN, WORK], known | SampleState.HOLDS_GIL)
    writer.sample(waiter, 10 * MS, 10 * MS, [MAIN], known | SampleState.WAITS_FOR_GIL)
    metadata = exported(recording_of(writer))["pystack"]
    threads = {thread["name"]: thread for thread in metadata["threads"]}
    assert threads["holder"]["gil_held_ns"] == 10 * MS
    assert threads["holder"]["gil_blamed_ns"] == 10 * MS
    assert threads["waiter"]["gil_wait_ns"] == 10 * MS
    assert threads["waiter"]["gil_without_ns"] == 0
    assert metadata["gil"] == {
        "held_ns": 10 * MS,
        "wait_ns": 10 * MS,
        "unexplained_wait_ns": 0,
        "blamed": [
            {
                "pid": 100,
                "tid": 100,
                "blamed_ns": 10 * MS,
                "stack": [
                    {"name": "main", "file": "/srv/app.py", "line": 1},
                    {"name": "Shop.work", "file": "/srv/shop.py", "line": 10},
                ],
            }
        ],
    }
    assert exported(small_recording())["pystack"]["gil"] is None


def test_threads_of_processes_that_began_later_keep_their_place_in_time() -> None:
    writers = [BatchWriter(), BatchWriter()]
    writers[0].sample(writers[0].thread(100), 10 * MS, 10 * MS, [MAIN])
    writers[1].sample(writers[1].thread(200), 30 * MS, 10 * MS, [WORK])
    document = exported(recording_of(*writers))
    assert [profile["name"] for profile in document["profiles"]] == [
        "100 · app.py 100",
        "200 · app.py 200",
    ]
    assert document["profiles"][1]["samples"] == [[], [1]]
    assert document["profiles"][1]["weights"] == [20 * MS, 10 * MS]


def test_an_empty_profile_is_a_valid_file() -> None:
    document = exported(recording_of(BatchWriter(), start_ns=5, end_ns=5 + MS))
    assert document["profiles"][0]["weights"] == [MS]
    assert document["profiles"][0]["samples"] == [[]]
    assert exported(recording_of(BatchWriter()))["profiles"][0]["weights"] == [0]


@pytest.mark.parametrize("name", ['quote " and \\', "</script>", "größe", "\udcff", "a\nb", "\x00"])
def test_any_name_survives(name: str) -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(100, name), MS, MS, [Frame(name, name)])
    stream = io.StringIO()
    speedscope.export(recording_of(writer), stream)
    assert stream.getvalue().isascii()
    assert len(json.loads(stream.getvalue())["shared"]["frames"]) == 1


@pytest.mark.parametrize("granularity", ["function", "line"])
@pytest.mark.parametrize("seed", range(20))
def test_totals_read_from_the_file_are_the_profiles(seed: int, granularity: Granularity) -> None:
    recording = random_recording(seed)
    document = exported(recording, granularity)
    frames = document["shared"]["frames"]
    self_ns = [0] * len(frames)
    total_ns = [0] * len(frames)
    for thread in document["profiles"]:
        for stack, weight_ns in zip(thread["samples"], thread["weights"], strict=True):
            if stack:
                self_ns[stack[-1]] += weight_ns
            for frame in set(stack):
                total_ns[frame] += weight_ns
    found = {
        (frame["name"], frame.get("file", ""), frame.get("line")): (
            self_ns[index],
            total_ns[index],
        )
        for index, frame in enumerate(frames)
        if total_ns[index]
    }
    assert found == {
        (total.label.name, total.label.file, total.label.line): (total.self_ns, total.total_ns)
        for total in function_totals(recording, View(granularity=granularity))
    }
    for thread, (_, track) in zip(document["profiles"], recording.tracks(), strict=True):
        shown_ns = sum(run.weight_ns for run in track.runs())
        pairs = zip(thread["samples"], thread["weights"], strict=True)
        assert shown_ns == sum(weight_ns for stack, weight_ns in pairs if stack)


def test_files_obey_speedscopes_own_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((viewers.speedscope() / "file-format-schema.json").read_text())
    empty = recording_of(BatchWriter())
    for recording in (small_recording(), random_recording(3), empty):
        for granularity in get_args(Granularity):
            for mode in MODES:
                jsonschema.validate(exported(recording, granularity, mode), schema)
