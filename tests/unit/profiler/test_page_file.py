"""Reports of flame graph pages: the same as those of the recordings, but for what a page does not have."""

from __future__ import annotations

import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.sampling import FrameKind, SampleState
from pystack_profiler import export_html, thread_totals
from pystack_profiler.page_file import is_page, load_page
from pystack_profiler.profile import Recording
from pystack_profiler.recording_file import BadRecordingFile
from pystack_profiler.report import answer, overview
from pystack_profiler.report_cli import report
from pystack_profiler.view import View
from random_recordings import random_recording


def page_of(recording: Recording, folder: Path) -> str:
    stream = io.StringIO()
    export_html(recording, stream)
    path = folder / "x.html"
    path.write_text(stream.getvalue())
    return str(path)


def rows_of(seen: Any) -> dict[tuple[Any, ...], tuple[int, int]]:
    return {tuple(row.label): (row.own.time_ns, row.total_ns) for row in seen.functions}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("granularity", ["function", "line"])
def test_a_page_has_the_report_of_its_recording(
    seed: int, granularity: str, tmp_path: Path
) -> None:
    recording = random_recording(seed, processes=1 + seed % 3)
    page = load_page(page_of(recording, tmp_path))
    modes = ("wall", "cpu", "gil")
    for mode in modes if set(modes) <= set(page.modes) else ("wall",):
        view = View(mode, granularity)  # type: ignore[arg-type]
        known = overview(recording, view, 10**6)
        seen = overview(page.recording, view, 10**6, page.totals)
        known_rows, seen_rows = rows_of(known), rows_of(seen)
        # Each stack of each thread is rounded to microseconds.
        for key in known_rows.keys() | seen_rows.keys():
            pairs = zip(seen_rows.get(key, (0, 0)), known_rows.get(key, (0, 0)), strict=True)
            assert all(abs(found_ns - known_ns) < 500_000 for found_ns, known_ns in pairs), key
        assert seen.metadata["threads"] == known.metadata["threads"]
        assert seen.metadata["counts"] == known.metadata["counts"]
        assert seen.metadata["target"] == known.metadata["target"]
        assert seen.metadata["gc_ns"] == known.metadata["gc_ns"]
    for (_, track), thread in zip(page.recording.tracks(), thread_totals(recording), strict=True):
        samples = sum(run.samples for run in track.runs())
        assert samples == pytest.approx(thread.samples, abs=3)


def test_frames_and_gaps_keep_their_kinds(tmp_path: Path) -> None:
    writer = BatchWriter()
    thread = writer.thread(100, "MainThread")
    main, frozen = Frame("main"), Frame("load", "<frozen importlib>")
    loop = Frame("eval", "/usr/lib/libpython3.13.so", kind=FrameKind.NATIVE)
    solve = Frame("solve", "/src/solve.c", kind=FrameKind.NATIVE)
    known = SampleState.CPU_KNOWN | SampleState.GIL_KNOWN
    writer.sample(thread, 10 * MS, 10 * MS, [main, frozen, loop, solve], known, count=7)
    writer.sample(thread, 20 * MS, 10 * MS, [main], known | SampleState.GC, count=3)
    writer.sample(thread, 50 * MS, 10 * MS, [main], known)  # after a gap
    recording = recording_of(writer, start_ns=1, end_ns=60 * MS)
    page = load_page(page_of(recording, tmp_path))
    kinds = {
        row.label.name: row.label.kind for row in overview(page.recording, View(), 99).functions
    }
    assert kinds == {
        "main": "python",
        "load": "interpreter",
        "eval": "interpreter",
        "solve": "native",
        "<garbage collection>": "gc",
    }
    assert thread_totals(page.recording)[0].gap_ns == 20 * MS
    assert page.recording.sample_count == 11
    found = answer(page.recording, View(), "callees", "main", 9)
    assert [([label.name for label in labels], ns) for labels, ns in found.rows] == [
        (["<garbage collection>"], 10 * MS),
        (["load"], 10 * MS),
    ]


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    path = page_of(random_recording(1), tmp_path)
    assert is_page(path)
    done = CliRunner().invoke(report, [path])
    assert done.exit_code == 0, done.output
    assert "\nread from a page: which code waited for the GIL is not in it" in done.stdout
    assert CliRunner().invoke(report, [path, "lines", "f1"]).exit_code == 0
    for arguments in (["gil", "f1"], ["--from", "1s"], ["--thread", "t0"]):
        refused = CliRunner().invoke(report, [path, *arguments])
        assert refused.exit_code == 2
        assert "need a FILE.pystack, not a page" in refused.stderr
    quiet = page_of(recording_of(BatchWriter()), tmp_path)
    refused = CliRunner().invoke(report, [quiet, "--mode", "cpu"])
    assert "the page has no time in mode cpu; it has wall" in str(refused.exception)


@pytest.mark.parametrize("content", ["", "<!DOCTYPE html>", "<!DOCTYPE html><p>no recording</p>"])
def test_other_pages_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    path.write_text(content)
    with pytest.raises(BadRecordingFile, match="is not a flame graph page"):
        load_page(str(path))


def changed(value: Any, chance: random.Random) -> Any:
    """A copy in which something is another thing."""
    strange: list[Any] = [None, -1, 10**30, 1.5, "x", [], {}, True, [[[]]], float("nan")]
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.1:
        return chance.choice(strange)
    copied = dict(value) if isinstance(value, dict) else list(value)
    place = chance.choice(list(copied) if isinstance(copied, dict) else range(len(copied)))
    if chance.random() < 0.1:
        del copied[place]
    else:
        copied[place] = changed(copied[place], chance)
    return copied


def test_damaged_pages_are_refused_or_read(tmp_path: Path) -> None:
    """No other error, whatever is in them."""
    path = Path(page_of(random_recording(2, processes=2), tmp_path))
    begin, text, end = re.split(
        r'(?<=id="recording">)(.*?)(?=</script>)', path.read_text(), flags=re.DOTALL
    )
    data = json.loads(text)
    chance = random.Random(5)
    outcomes = {True: 0, False: 0}
    for _ in range(300):
        path.write_text(begin + json.dumps(changed(data, chance)).replace("<", "\\u003c") + end)
        try:
            page = load_page(str(path))
            overview(page.recording, View(), 10, page.totals)
            outcomes[True] += 1
        except BadRecordingFile:
            outcomes[False] += 1
    assert min(outcomes.values()) > 10
