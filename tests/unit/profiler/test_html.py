from __future__ import annotations

import html as markup
import io
import json
import re
from typing import Any

import pytest

from profiler_fakes import MS, BatchWriter, Frame, Wait, recording_of
from pystack.sampling import SampleState
from pystack_profiler import Recording, View, function_totals
from pystack_profiler.comparison import compare
from pystack_profiler.exporters import html
from pystack_profiler.grouping import FrameLabel
from pystack_profiler.view import DEFAULT_VIEW, MODES
from random_recordings import random_recording

HOLDS = SampleState.GIL_KNOWN | SampleState.HOLDS_GIL
WAITS = SampleState.GIL_KNOWN | SampleState.WAITS_FOR_GIL

_DATA = re.compile(r'<script type="application/json" id="recording">(.*?)</script>', re.DOTALL)


def page_of(recording: Recording, view: View = DEFAULT_VIEW) -> str:
    stream = io.StringIO()
    html.export(recording, stream, view)
    return stream.getvalue()


def data_of(recording: Recording, view: View = DEFAULT_VIEW) -> dict[str, Any]:
    matches = _DATA.findall(page_of(recording, view))
    assert len(matches) == 1
    data: dict[str, Any] = json.loads(matches[0])
    return data


def totals(data: dict[str, Any], mode: str) -> dict[FrameLabel, tuple[int, int]]:
    """Self and total microseconds of each line, worked out as the page does."""
    functions, frames, strings = data["functions"], data["frames"], data["strings"]

    def label(frame: int) -> FrameLabel:
        function, line = frames["function"][frame], frames["line"][frame]
        first = functions["line"][function]
        return FrameLabel(
            data["kinds"][functions["kind"][function]],
            strings[functions["name"][function]],
            strings[functions["file"][function]],
            first if first >= 0 else None,
            line if line >= 0 else None,
        )

    paths: list[list[int]] = [[]]
    for index, (back, frame) in enumerate(
        zip(data["stacks"]["parent"], data["stacks"]["frame"], strict=True), 1
    ):
        paths.append([*paths[index - back], frame])
    found: dict[FrameLabel, tuple[int, int]] = {}
    for thread in data["threads"]:
        stack = 0
        for step, weight in zip(thread["stack"], thread[mode], strict=True):
            stack += step
            for frame in set(paths[stack]) if weight else ():
                own, total = found.get(label(frame), (0, 0))
                own += weight if frame == paths[stack][-1] else 0
                found[label(frame)] = own, total + weight
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(10))
def test_totals_of_the_page_are_the_recordings(seed: int, mode: str) -> None:
    recording = random_recording(seed, processes=1 + seed % 2)
    view = View(mode, "line")  # type: ignore[arg-type]
    found = totals(data_of(recording, view), mode)
    expected = {
        total.label._replace(short_file=""): total for total in function_totals(recording, view)
    }
    shown = {label for label, total in expected.items() if total.total_ns > 500 * 200}
    assert shown <= set(found)
    for label, total in expected.items():
        own, whole = found.get(label, (0, 0))
        assert own == pytest.approx(total.self_ns / 1000, abs=100)  # of rounding
        assert whole == pytest.approx(total.total_ns / 1000, abs=300)


def test_what_is_looked_at_first() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [Frame("f")], HOLDS)
    recording = recording_of(writer)
    initial = data_of(recording, View("gil", "line", threads=True))["initial"]
    assert initial == {"mode": "gil", "lines": True, "threads": True}
    data = data_of(recording, View("cpu"))
    assert data["initial"]["mode"] == "wall"  # which threads ran was not measured
    assert data["modes"] == ["wall", "gil"]
    assert "cpu" not in data["threads"][0]


def test_who_is_waited_for_is_a_view_too() -> None:
    writer = BatchWriter()
    threads = [writer.thread(1, "holder"), writer.thread(2, "waiter")]
    for thread, state in zip(threads, (HOLDS, WAITS), strict=True):
        writer.sample(thread, 3 * MS, 3 * MS, [Frame("f")], state)
    data = data_of(recording_of(writer))
    assert data["modes"] == ["wall", "gil", "blame"]
    assert [thread["blame"] for thread in data["threads"]] == [[3000], [0]]
    assert data["metadata"]["gil"]["wait_ns"] == 3 * MS


@pytest.mark.parametrize(
    "name",
    [
        "</script><script>alert(1)</script>",
        "<!-- <script>",
        "]]>",
        "quote \" and \\ and ' and &amp;",
        "größe \U0001f600",
        "lone \udcff surrogate",
        "a\nb\x00\x1b[2J\u2028\u202e",
        "@DATA@ @SCRIPT@ @TITLE@",
    ],
)
def test_any_name_survives_and_ends_nothing(name: str) -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(100, name), MS, MS, [Frame(name, name)])
    recording = recording_of(writer)
    recording.command = ("python", name)
    page = page_of(recording)
    plain = page_of(recording_of(BatchWriter()))
    for tag in ("<script", "</script", "<!--", "<style", "<title", "\x00", "\x1b"):
        assert page.count(tag) == plain.count(tag)
    page.encode()
    data = data_of(recording)
    (function,) = data["functions"]["name"]
    assert data["threads"][0]["title"].endswith(" 100")
    escaped = data["strings"][function]
    assert escaped.isprintable()
    title = re.search("<title>(.*)</title>", page)
    assert title is not None
    assert markup.unescape(title[1]) == data["title"]


def test_idle_time_is_told_apart() -> None:
    """The same stack is idle while it sleeps, and not while it runs."""
    known = SampleState.CPU_KNOWN
    worker = [Frame("_worker", "/usr/lib/python3.13/concurrent/futures/thread.py", 70, 90)]
    writer = BatchWriter()
    thread = writer.thread(1)
    writer.sample(thread, 10 * MS, 10 * MS, worker, known)
    writer.sample(thread, 13 * MS, 3 * MS, worker, known | SampleState.ON_CPU)
    writer.sample(thread, 15 * MS, 2 * MS, worker, known, wait=Wait("lock"))
    [columns] = data_of(recording_of(writer))["threads"]
    assert columns["wall"] == [13_000, 2000]
    assert columns["idle"] == [10_000, 0]
    writer = BatchWriter()
    writer.sample(writer.thread(1), 10 * MS, 10 * MS, [Frame("sleep", "/srv/app.py")], known)
    [columns] = data_of(recording_of(writer))["threads"]
    assert "idle" not in columns


def test_names_of_megabytes_are_cut() -> None:
    """They would be searched, measured and laid out at each step."""
    name = "x" + "</script>" * 400_000
    writer = BatchWriter()
    thread = writer.thread(100, name)
    writer.sample(thread, MS, MS, [Frame(name, name), Frame(name + "x")], HOLDS)
    writer.sample(writer.thread(101), MS, MS, [Frame("f")], WAITS)
    recording = recording_of(writer)
    recording.command = recording.profiles[0].process.command = ("python", name)
    assert len(page_of(recording)) - len(page_of(recording_of(BatchWriter()))) < 50_000
    data = data_of(recording)
    names = [data["strings"][index] for index in data["functions"]["name"]]
    assert names[0].endswith("… (3,599,001 more characters)")
    assert len(set(names)) == len(names)


def test_the_page_needs_nothing_else() -> None:
    page = page_of(random_recording(1))
    assert "default-src 'none'" in page
    outside = re.findall(
        r"""(?:src|href)\s*=\s*["']?(?!data:)[^"'\s>]+|@import|url\(|fetch\(""", page
    )
    assert outside == []
    assert not re.search(r"@[A-Z]+@", page)


def test_an_empty_recording_is_a_page() -> None:
    data = data_of(recording_of(BatchWriter(), start_ns=1, end_ns=MS))
    assert data["threads"] == []
    assert data["modes"] == ["wall"]
    assert data_of(Recording(pid=1))["processes"] == []


def test_functions_of_two_versions_are_the_same_wherever_they_stand() -> None:
    sides: list[html.Side] = []
    for first_line in (1, 5):
        writer = BatchWriter()
        thread = writer.thread(1, "main")
        for tick, name in enumerate(("parse", "parse", "render"), 1):
            frames = [Frame("main", first_line=first_line), Frame(name, first_line=first_line + 9)]
            writer.sample(thread, tick * MS, MS, frames)
        sides.append(html.Side(f"at {first_line}", [recording_of(writer, start_ns=1)]))
    comparison = compare(sides[0].recordings, sides[1].recordings, View())
    stream = io.StringIO()
    html.export_comparison(sides[0], sides[1], comparison, stream)
    (text,) = _DATA.findall(stream.getvalue())
    data = json.loads(text)
    functions, strings = data["functions"], data["strings"]
    names = [strings[name] for name in functions["name"]]
    assert sorted(names) == ["main", "parse", "render"]
    assert dict(zip(names, functions["line"], strict=True)) == {
        "main": 5,
        "parse": 14,
        "render": 14,
    }
