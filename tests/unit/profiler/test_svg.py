"""The SVG is well-formed whatever names there are, and its widths are the recording's times."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import pytest

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack_profiler import function_totals
from pystack_profiler.exporters import SVG
from pystack_profiler.profile import Recording
from pystack_profiler.view import MODES, View
from random_recordings import large_recording, random_recording

_NAMESPACE = "{http://www.w3.org/2000/svg}"


def boxes(recording: Recording, view: View) -> list[tuple[str, float, float]]:
    """Name, share and row of each frame."""
    stream = io.StringIO()
    SVG.export(recording, stream, view)
    found = []
    for group in ET.fromstring(stream.getvalue()).iter(f"{_NAMESPACE}g"):
        box = group.find(f"{_NAMESPACE}rect")
        assert box is not None
        assert group.findtext(f"{_NAMESPACE}title")
        place = float(box.get("y", ""))
        found.append((group.get("data-name", ""), float(group.get("data-share", "")), place))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", MODES)
def test_widths_are_times(seed: int, mode: str) -> None:
    recording = random_recording(seed, processes=1 + seed % 2)
    view = View(mode, "line")  # type: ignore[arg-type]
    found = boxes(recording, view)
    totals = function_totals(recording, view)
    whole_ns = sum(total.self_ns for total in totals)
    if not whole_ns:
        assert not found
        return
    first = min(row for *_, row in found)
    assert sum(share for _, share, row in found if row == first) == pytest.approx(1, abs=0.02)
    known = {total.label.name: total.total_ns / whole_ns for total in totals}
    for name, share, _ in found:
        assert share <= known[name] + 1e-6


def test_threads_and_processes_can_be_roots() -> None:
    found = boxes(random_recording(2, processes=2), View(threads=True))
    rows = sorted({row for *_, row in found})
    assert {name for name, _, row in found if row == rows[0]} == {"app.py 100", "app.py 200"}
    assert {name.split()[0] for name, _, row in found if row == rows[1]} <= {"t0", "t1", "t2", "t3"}


def test_hostile_names_are_text() -> None:
    writer = BatchWriter()
    name = "]]></script><script>alert(1)</script>\0\x1b\"'&\udc80\ufffe" + "x" * 10_000
    writer.sample(writer.thread(1, name), MS, MS, [Frame(name, name)])
    recording = recording_of(writer)
    recording.command = (name,)
    stream = io.StringIO()
    SVG.export(recording, stream, View(threads=True))
    text = stream.getvalue()
    assert text.encode()
    assert len([*ET.fromstring(text).iter(f"{_NAMESPACE}script")]) == 1


def test_deep_and_many_stacks_stay_small() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [Frame(f"f{depth}") for depth in range(3000)])
    assert len(boxes(recording_of(writer), View())) == 500
    stream = io.StringIO()
    SVG.export(large_recording(5000), stream, View())
    assert len(stream.getvalue()) < 3_000_000
