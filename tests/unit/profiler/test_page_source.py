"""The source lines in a flame graph page: the right ones, few, and none that nobody asked for."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.render.source import SourceReader
from pystack_profiler import export_html
from pystack_profiler.exporters.page_source import source_lines
from pystack_profiler.grouping import FrameLabel
from pystack_profiler.profile import Recording
from pystack_profiler.view import View

_DATA = re.compile(r'<script type="application/json" id="recording">(.*?)</script>', re.DOTALL)

SOURCE = """\
PASSWORD = "hunter2"

@cached
def decorated():
    return work()

class Shop:
    def serve(self, order):
        total = 0
        for item in order:
            total += item  # </script>\u202e
        return total

    names = [name for name in "ab"]
""" + "\n".join(f"# filler {number}" for number in range(60))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Everyone may read it: root does not read other files for a page."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def program(folder: Path) -> Path:
    path = folder / "shop.py"
    path.write_text(SOURCE)
    path.chmod(0o644)
    return path


def reader() -> SourceReader:
    return SourceReader.of_recording(float("inf"))


def lines_of(path: object, function: str, first: int, sampled: list[int]) -> list[tuple[int, str]]:
    label = FrameLabel("python", function, str(path), first)
    found = source_lines([label], {0: sampled}, [100], reader())
    return [(lines.first, lines.text) for lines in found]


def test_the_lines_of_a_function(program: Path) -> None:
    ((first, text),) = lines_of(program, "Shop.serve", 8, [10, 11])
    assert first == 8
    lines = text.split("\n")
    assert lines == [
        "def serve(self, order):",
        "    total = 0",
        "    for item in order:",
        "        total += item  # </script>\\u202e",
        "    return total",
    ]
    assert lines_of(program, "serve", 8, [10])  # before 3.11, names have no class
    assert lines_of(program, "decorated", 3, [5])
    assert lines_of(program, "Shop.<listcomp>", 14, [14])


def test_lines_far_from_sampled_ones_are_left_out(program: Path) -> None:
    (first, head), (second, far) = lines_of(program, "Shop.serve", 8, [8, 60])
    assert (first, second) == (8, 54)
    assert len(head.split("\n")) + len(far.split("\n")) < 20


@pytest.mark.parametrize(
    ("function", "first", "sampled"),
    [
        ("<module>", 1, [1]),  # constants, such as passwords
        ("Shop", 7, [14]),
        ("serve", 9, [10]),  # another version of the file
        ("serv", 8, [10]),
        ("serve", 8, [7]),
        ("serve", 8, [10**9]),
        ("serve", 10**9, [10**9]),
        ("<lambda>", 8, [8]),
        ("(", 8, [8]),
    ],
)
def test_what_does_not_fit_is_not_shown(
    function: str, first: int, sampled: list[int], program: Path
) -> None:
    assert lines_of(program, function, first, sampled) == []


def test_files_that_are_not_there_or_not_to_be_read(folder: Path, program: Path) -> None:
    for path in ("shop.py", "", "<string>", "/proc/self/environ", "/dev/stdin", folder, "/x\0y"):
        assert lines_of(path, "serve", 8, [10]) == []
    os.mkfifo(folder / "pipe.py")
    assert lines_of(folder / "pipe.py", "serve", 8, [10]) == []
    program.chmod(0)
    assert lines_of(program, "serve", 8, [10]) == []


def test_root_reads_what_everyone_may_read(program: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only for root: others have no more rights than their own")
    program.chmod(0o600)
    assert lines_of(program, "serve", 8, [10]) == []


def test_limits(folder: Path) -> None:
    path = folder / "long.py"
    path.write_text("def f(): " + "x" * 10**6 + "\n" + "    y\n" * 10_000)
    path.chmod(0o644)
    found = lines_of(path, "f", 1, list(range(1, 3000)))
    text = "\n".join(text for _, text in found)
    assert len(text.split("\n")) <= 400
    assert max(map(len, text.split("\n"))) == 200
    labels = [FrameLabel("python", "f", str(path), 1) for _ in range(1000)]
    sampled = {index: range(1, 300) for index in range(1000)}
    many = source_lines(labels, sampled, [100] * 1000, reader())
    assert sum(len(lines.text) for lines in many) < 500_000
    # Functions with hardly any time have no lines.
    few = source_lines(labels[:2], {0: [2], 1: [2]}, [10_000, 9], reader())
    assert [lines.function for lines in few] == [0]


def data_of(recording: Recording, view: View) -> dict[str, Any]:
    stream = io.StringIO()
    export_html(recording, stream, view)
    found: dict[str, Any] = json.loads(_DATA.findall(stream.getvalue())[0])
    return found


def test_a_page_has_the_source_of_its_functions(program: Path) -> None:
    writer = BatchWriter()
    thread = writer.thread(1)
    frames = [Frame("<module>", str(program), 1, 1), Frame("Shop.serve", str(program), 8, 11)]
    writer.sample(thread, MS, MS, frames)
    recording = recording_of(writer)
    data = data_of(recording, View())
    (lines,) = data["source"]
    assert data["strings"][data["functions"]["name"][lines["function"]]] == "Shop.serve"
    assert lines["first"] == 8
    assert lines["changed"]  # the fake recording began in 1970
    assert "hunter2" not in json.dumps(data)
    assert data_of(recording, View(source=False))["source"] == []
