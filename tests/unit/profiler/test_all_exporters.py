"""The same recording in all formats: names, threads and times agree, as readers of each format see them."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest

from format_readers import READERS, Times
from pystack_profiler import exporters, function_totals, thread_totals
from pystack_profiler.naming import process_title, thread_title
from pystack_profiler.profile import Recording
from pystack_profiler.recording_file import load
from pystack_profiler.sinks import FileSink
from pystack_profiler.view import MODES, View
from random_recordings import random_recording

SEEDS = (1, 3, 5)


def known_times(recording: Recording, mode: str) -> Times:
    times: Times = Counter()
    for profile, track in recording.tracks():
        view = View(mode)  # type: ignore[arg-type]
        for total in function_totals(recording, view, [(profile, track)]):
            name = process_title(profile), thread_title(track.identity), total.label.name
            times[name] += total.self_ns
    return times


def content_of(recording: Recording, known: exporters.Format, mode: str) -> str | bytes:
    stream = io.BytesIO() if known.is_binary else io.StringIO()
    view = View(mode, threads=True)  # type: ignore[arg-type]
    known.export(recording, stream, view)
    return stream.getvalue()


def test_there_is_a_reader_for_each_format() -> None:
    # A report is a text, which test_report reads.
    assert set(READERS) | {"pystack", "report"} == {known.name for known in exporters.FORMATS}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", READERS)
def test_times_agree(name: str, mode: str) -> None:
    known = exporters.by_name(name)
    assert known is not None
    for seed in SEEDS:
        recording = random_recording(seed, processes=2)
        found = READERS[name](content_of(recording, known, mode), mode)
        expected = known_times(recording, mode)
        if mode == "wall":  # No time is missing, with Python frames or without.
            assert sum(expected.values()) == sum(
                total.seen_ns + total.gap_ns for total in thread_totals(recording)
            )
        if name == "callgrind":  # has no threads
            threads, expected = expected, Counter()
            for (_, _, function), time_ns in threads.items():
                expected["", "", function] += time_ns
        if name == "svg":
            assert_shares_agree(found, expected)
            continue
        # The page and collapsed stacks round each stack to microseconds.
        rounding_ns = 200_000 if name in ("html", "folded") else 0
        for key in found.keys() | expected.keys():
            assert abs(found[key] - expected[key]) <= rounding_ns, key


def assert_shares_agree(found: Times, expected: Times) -> None:
    """The SVG has shares, and leaves out what is too narrow."""
    whole_ns = sum(expected.values())
    if not whole_ns:
        assert not found
        return
    threads_found, threads_known = Counter[str](), Counter[str]()
    for (process, thread, _), parts in found.items():
        threads_found[process + thread] += parts
    for (process, thread, _), time_ns in expected.items():
        threads_known[process + thread] += time_ns
    for thread, time_ns in threads_known.items():
        assert threads_found[thread] / 1e9 == pytest.approx(time_ns / whole_ns, abs=1e-6)
    for process, thread, name in found:
        assert not name or any(known[:2] == (process, thread) for known in expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_recording_file_has_the_same_times(seed: int, tmp_path: Path) -> None:
    recording = random_recording(seed, processes=2)
    path = str(tmp_path / "x.pystack")
    FileSink(path, exporters.PYSTACK).write(recording)
    for mode in MODES:
        assert known_times(load(path), mode) == known_times(recording, mode)
