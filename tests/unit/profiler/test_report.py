"""The report says what the recording says, in at most 60 lines, and the same at each time."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.errors import InvalidArgument
from pystack.sampling import SampleState
from pystack_profiler import function_totals
from pystack_profiler.exporters import REPORT, by_suffix
from pystack_profiler.profile import Recording
from pystack_profiler.report import (
    Question,
    answer,
    answer_text,
    gil_answer,
    gil_text,
    overview,
    overview_text,
)
from pystack_profiler.report.gil import GilTimes
from pystack_profiler.view import MODES, View
from random_recordings import large_recording, random_recording

_RAN = SampleState.CPU_KNOWN | SampleState.ON_CPU


def a_recording() -> Recording:
    """main calls parse (3 s, of these 2 s in read) and Shop.parse (1 s); read recurses."""
    writer = BatchWriter()
    thread = writer.thread(100, "MainThread")
    main, parse, read = Frame("main"), Frame("parse", first_line=5, line=6), Frame("read")
    method = Frame("Shop.parse", "/srv/shop.py")
    stacks = [
        [main, parse],
        [main, parse._replace(line=7), read],
        [main, parse._replace(line=7), read, read],
        [main, method],
    ]
    for second, stack in enumerate(stacks, 1):
        writer.sample(thread, second * 1000 * MS, 1000 * MS, stack, _RAN, count=100)
    return recording_of(writer, start_ns=1, end_ns=4000 * MS, attempted=400, taken=400)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", MODES)
def test_functions_are_those_of_the_recording(seed: int, mode: str) -> None:
    recording = random_recording(seed, processes=1 + seed % 2)
    view = View(mode)  # type: ignore[arg-type]
    seen = overview(recording, view, 10**6)
    rows = {row.label: (row.own.time_ns, row.total_ns) for row in seen.functions}
    totals = {
        total.label: (total.self_ns, total.total_ns) for total in function_totals(recording, view)
    }
    assert {label: times for label, times in totals.items() if label in rows} == rows
    assert {label.function for label in totals.keys() - rows.keys()} <= {"<not sampled>"}
    assert seen.base_ns == sum(own_ns for own_ns, _ in rows.values())


def test_the_text_is_short_and_stable() -> None:
    for recording in (large_recording(3000, threads=40), random_recording(1), recording_of()):
        lines = overview_text(overview(recording, View(), 15))
        assert len(lines) <= 60
        assert lines == overview_text(overview(recording, View(), 15))
        assert all(len(line) < 250 for line in lines)


def test_the_base_of_per_cents_is_said() -> None:
    text = "\n".join(overview_text(overview(a_recording(), View(), 15)))
    assert "100 % is 4.0 s, the time of all threads" in text
    assert " 25.0 %     1.0 s  75.0 %     3.0 s     1.0 s  parse (app.py:5)" in text
    assert "±2.9 points" in text  # 1.96 * sqrt(0.1 * 0.9 / 400)


@pytest.mark.parametrize(
    ("question", "name", "rows"),
    [
        ("callers", "read", [("parse", 2)]),
        ("callers", "main", [("", 4)]),
        ("callees", "main", [("parse", 3), ("Shop.parse", 1)]),
        ("callees", "read", []),
        ("lines", "parse", [("parse:7", 2), ("parse:6", 1)]),
        ("path", "read", [("main parse read", 2)]),
        ("path", "Shop.parse", [("main Shop.parse", 1)]),
    ],
)
def test_questions(question: Question, name: str, rows: list[tuple[str, int]]) -> None:
    found = answer(a_recording(), View(), question, name, 10)
    named = [(" ".join(label.name for label in path), ns // 10**9) for path, ns in found.rows]
    assert named == rows
    assert answer_text(found)
    assert json.dumps(found.to_json())


def test_a_name_is_whole_or_the_last_part() -> None:
    recording = a_recording()
    assert len(answer(recording, View(), "callers", "parse", 10).functions) == 1
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [Frame("A.run"), Frame("B.run")])
    both = answer(recording_of(writer), View(), "callers", "run", 10)
    assert [label.function for label in both.functions] == ["A.run", "B.run"]
    with pytest.raises(InvalidArgument, match="named pars") as refused:
        answer(recording, View(), "callers", "pars", 10)
    assert "parse" in (refused.value.hint or "")


def test_names_as_they_are_printed_are_found() -> None:
    long = "Parser." + "very_" * 20
    frames = [Frame("main", "/srv/app.py", 3), Frame(f"{long}one", "/srv/a.py", 5)]
    frames.append(Frame(f"{long}two", "/srv/b.py", 7))
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, frames)
    recording = recording_of(writer)

    def asked(name: str) -> list[str]:
        found = answer(recording, View(), "callers", name, 10)
        return [label.function for label in found.functions]

    printed = [line.split("  ")[-1] for line in overview_text(overview(recording, View(), 10))]
    places = [line for line in printed if line.endswith((".py:3)", ".py:5)", ".py:7)"))]
    assert [asked(place) for place in sorted(places)] == [[f"{long}one"], [f"{long}two"], ["main"]]
    in_path = next(line for line in printed if line.startswith("main > ")).split(" > ")[1]
    assert in_path.endswith("…")
    for short in (in_path, long[:69] + "…"):
        with pytest.raises(InvalidArgument, match="several functions") as refused:
            asked(short)
        assert "(a.py:5), " in (refused.value.hint or "")
    with pytest.raises(InvalidArgument, match="no function"):
        asked("…")


def test_names_are_escaped() -> None:
    writer = BatchWriter()
    name = "\x1b[31m\n" * 50
    writer.sample(writer.thread(1, name), MS, MS, [Frame(name, name)], _RAN)
    recording = recording_of(writer)
    for lines in (
        overview_text(overview(recording, View(), 15)),
        answer_text(
            answer(
                recording, View(), "path", overview(recording, View(), 1).functions[0].label.name, 5
            )
        ),
    ):
        assert not any("\x1b" in line or "\n" in line for line in lines)


def test_json_holds_what_the_text_says(tmp_path: Path) -> None:
    document = json.loads(json.dumps(overview(a_recording(), View(), 2).to_json()))
    assert document["report_version"] == 1
    assert [function["name"] for function in document["functions"]] == ["read", "parse"]
    assert document["functions"][0]["self_ns"] == 2 * 10**9
    assert document["functions"][0]["self_samples"] == 200
    assert document["threads"][0]["samples"] == 400
    assert document["recording"]["end_reason"] == "stopped"


def gil_recording() -> Recording:
    """`serve` holds the GIL in `parse` while `other` waits; then `serve` waits for `other`."""
    serve, parse, other = Frame("serve"), Frame("parse", first_line=5), Frame("other")
    held = SampleState.GIL_KNOWN | SampleState.HOLDS_GIL
    waits = SampleState.GIL_KNOWN | SampleState.WAITS_FOR_GIL
    writer = BatchWriter()
    first, second = writer.thread(100, "first"), writer.thread(101, "second")
    rows = [
        (first, 1, [serve, parse], held),
        (second, 1, [other], waits),
        (first, 2, [serve], held),
        (second, 2, [other], SampleState.GIL_KNOWN),
        (first, 3, [serve, parse], waits),
        (second, 3, [other], held),
    ]
    for thread, second_of, stack, state in rows:
        writer.sample(thread, second_of * 1000 * MS, 1000 * MS, stack, state, count=100)
    return recording_of(writer, start_ns=1, end_ns=3000 * MS, attempted=600, taken=600)


def test_who_waited_for_the_gil_because_of_a_function() -> None:
    found = gil_answer(gil_recording(), View(), "serve", 10)
    second = 1000 * MS
    assert found.total == GilTimes(2 * second, second, second)
    assert found.all == GilTimes(3 * second, 2 * second, 2 * second)
    assert [(label.name, times) for label, times in found.rows] == [
        ("parse", GilTimes(second, second, second)),
        ("serve", GilTimes(second, 0, 0)),
    ]
    lines = gil_text(found)
    assert lines[0] == (
        "serve (app.py:1): held the GIL for 2.0 s (67 % of all); others waited 1.0 s meanwhile (50 % of"
        " such waiting); it waited itself 1.0 s"
    )
    assert lines[-1] == "         0 ms     1.0 s      0 ms  serve (app.py:1)"
    assert gil_answer(gil_recording(), View(), "other", 10).total == GilTimes(
        second, second, second
    )
    assert found.to_json()["rows"][0]["blamed_ns"] == second


def test_a_gil_that_was_not_measured() -> None:
    with pytest.raises(InvalidArgument, match="could not be measured"):
        gil_answer(a_recording(), View(), "main", 10)
    with pytest.raises(InvalidArgument, match="no function of the recording is named nothing"):
        gil_answer(gil_recording(), View(), "nothing", 10)


def test_a_report_is_a_format() -> None:
    stream = io.StringIO()
    REPORT.export(a_recording(), stream, View("cpu"))
    assert stream.getvalue().splitlines() == overview_text(overview(a_recording(), View("cpu"), 15))
    assert by_suffix("x.report") is REPORT


def test_a_long_path_keeps_the_users_functions() -> None:
    site = "/srv/venv/lib/python3.13/site-packages"
    library = [Frame(f"a_function_of_a_library_{n}", f"{site}/a.py", n) for n in range(12)]
    path = [*library[:6], Frame("handler"), *library[6:11], Frame("fetch"), library[11]]
    writer = BatchWriter()
    writer.sample(writer.thread(1), 10 * MS, 10 * MS, path)
    recording = recording_of(writer, start_ns=0, end_ns=10 * MS)
    [line] = [line for line in overview_text(overview(recording, View(), 5)) if " … > " in line]
    assert line.strip() == (
        "100.0 %  a_function_of_a_library_0 > … > handler > … > a_function_of_a_library_10 > fetch >"
        " a_function_of_a_library_11"
    )
