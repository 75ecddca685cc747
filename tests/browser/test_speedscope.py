"""Our files in the real speedscope, in a real browser.

Needs `python tools/viewers.py` once, and Chromium (Debian: `apt-get install chromium`).
`PYSTACK_SCREENSHOTS=DIR` keeps pictures of what was seen.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import viewers
from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack_profiler import export_folded, export_speedscope, function_totals
from pystack_profiler.exporters import CHROME_TRACE
from pystack_profiler.sinks import FileSink

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_SHOP = Path(__file__).parents[2] / "examples" / "shop.py"
_TIME = re.compile(r"([\d.]+)(ns|µs|us|ms|s)")
_UNIT_NS = {"ns": 1, "µs": 1e3, "us": 1e3, "ms": 1e6, "s": 1e9}


class Viewer:
    """speedscope with one file opened."""

    def __init__(self, page: Page, file: Path) -> None:
        self.errors: list[str] = []
        self._page = page
        self._name = file.name
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))
        content = base64.b64encode(file.read_bytes()).decode()
        script = file.with_suffix(".js")
        script.write_text(f"speedscope.loadFileFromBase64({json.dumps(file.name)}, '{content}')")
        index = viewers.speedscope() / "index.html"
        page.goto(f"{index.as_uri()}#localProfilePath={str(script).lstrip('/')}")
        page.get_by_text("Sandwich").wait_for()

    def title(self) -> str:
        return self._page.title()

    def shown_profile(self) -> str:
        """Name and place of the profile on display, as in `100/101 worker (2/3)`."""
        place = self._page.get_by_text(re.compile(r"^\(\d+/\d+\)$")).locator("xpath=..")
        return place.inner_text()

    def profiles(self) -> dict[str, float]:
        """Name and total weight in ns of every profile, from the (hidden) list of several."""
        cells = [
            row.locator("td").all_text_contents() for row in self._page.locator("tr[title]").all()
        ]
        return {name: _nanoseconds(weight) for _, name, weight in cells}

    def functions(self) -> dict[str, tuple[float, float]]:
        """Name, self and total time in ns of every function of the profile on display."""
        self._page.keyboard.press("3")
        rows = self._page.locator("tr:not([title]):has(td)")
        rows.first.wait_for()
        cells = [row.locator("td").all_text_contents() for row in rows.all()]
        return {
            name.strip(): (_nanoseconds(own), _nanoseconds(total)) for total, own, name in cells
        }

    def keep_pictures(self) -> None:
        folder = os.environ.get("PYSTACK_SCREENSHOTS")
        for key, view in (("1", "time-order"), ("2", "left-heavy"), ("3", "sandwich")):
            if folder:
                Path(folder).mkdir(parents=True, exist_ok=True)
                self._page.keyboard.press(key)
                time.sleep(0.5)  # speedscope draws a little later
                self._page.screenshot(path=Path(folder) / f"{self._name}-{view}.png")

    def _note(self, kind: str, text: str) -> None:
        if kind == "error":
            self.errors.append(text)


def _nanoseconds(text: str) -> float:
    match = _TIME.search(text)
    assert match is not None, text
    return float(match[1]) * _UNIT_NS[match[2]]


@pytest.fixture
def viewed(browser: Browser) -> Iterator[object]:
    viewers: list[Viewer] = []

    def view(file: Path) -> Viewer:
        page = browser.new_page(viewport={"width": 1400, "height": 800})
        viewers.append(Viewer(page, file))
        return viewers[-1]

    yield view
    for viewer in viewers:
        viewer.keep_pictures()
        assert viewer.errors == []


def written_profile() -> tuple[BatchWriter, list[Frame]]:
    """Two threads; the second is seen half of the time, and is the livelier one."""
    frames = [
        Frame("<module>", "/srv/app.py", 1),
        Frame("Shop.serve", "/srv/app.py", 10),
        Frame("<b>größe</b>", "/srv/app.py", 20),
    ]
    writer = BatchWriter()
    main, worker = writer.thread(100, "MainThread"), writer.thread(101, "worker & co")
    for tick in range(1, 101):
        writer.sample(main, tick * 10 * MS, 10 * MS, frames[:1])
        if tick % 2:
            writer.sample(worker, tick * 10 * MS, 10 * MS, frames[: 2 + tick % 3 // 2])
    return writer, frames


def test_names_and_times_arrive(viewed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    recording = recording_of(written_profile()[0], start_ns=1, end_ns=1200 * MS)
    path = tmp_path / "small.json"
    with path.open("w") as stream:
        export_speedscope(recording, stream)
    viewer = viewed(path)
    assert viewer.title().startswith("python app.py (pid 100, CPython 3.13.5)")
    assert viewer.shown_profile() == "worker & co 101 · app.py 100 (2/2)"
    assert viewer.profiles() == {
        "MainThread 100 · app.py 100": pytest.approx(1000 * MS, rel=0.01),
        # The gaps between its samples count, too: as `<not sampled>`.
        "worker & co 101 · app.py 100": pytest.approx(990 * MS, rel=0.01),
    }
    expected = function_totals(recording, tracks=list(recording.tracks())[1:])
    assert len(expected) == 4
    assert viewer.functions() == {
        total.label.name: (
            pytest.approx(total.self_ns, rel=0.01),
            pytest.approx(total.total_ns, rel=0.01),
        )
        for total in expected
    }


def test_an_empty_recording_opens(viewed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "empty.json"
    with path.open("w") as stream:
        export_speedscope(recording_of(BatchWriter(), start_ns=1, end_ns=500 * MS), stream)
    viewer = viewed(path)
    assert viewer.title().startswith("python app.py")


def test_collapsed_stacks_open_too(viewed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "small.folded"
    with path.open("w", encoding="utf-8") as stream:
        export_folded(recording_of(written_profile()[0]), stream)
    viewer = viewed(path)
    assert viewer.title().startswith("small.folded")


def test_trace_events_open_too(viewed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    recording = recording_of(written_profile()[0], start_ns=1, end_ns=1200 * MS)
    path = tmp_path / "small.trace.json"
    FileSink(str(path), CHROME_TRACE).write(recording)
    viewer = viewed(path)
    assert viewer.profiles() == {
        "app.py 100 (pid 100), MainThread 100 (tid 100)": pytest.approx(1000 * MS, rel=0.01),
        "app.py 100 (pid 100), worker & co 101 (tid 101)": pytest.approx(990 * MS, rel=0.01),
    }
    index = 0 if "MainThread" in viewer.shown_profile() else 1
    expected = function_totals(recording, tracks=list(recording.tracks())[index : index + 1])
    found = {name.partition(" {")[0]: times for name, times in viewer.functions().items()}
    assert found == {
        total.label.name: (
            pytest.approx(total.self_ns, rel=0.01),
            pytest.approx(total.total_ns, rel=0.01),
        )
        for total in expected
    }


def test_a_recording_of_the_workload(viewed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "shop.json"
    command = [sys.executable, str(_SHOP), "--seconds", "3"]
    subprocess.run(
        [sys.executable, "-m", "pystack", "record", "-r", "250", "-o", str(path), "--", *command],
        check=True,
        cwd=tmp_path,
        timeout=120,
    )
    viewer = viewed(path)
    names = {name.partition(" ")[0] for name in viewer.profiles()}
    assert {"MainThread", "worker_0", "packer", "books", "stock", "suppliers", "patient"} <= names
    functions = viewer.functions()
    assert {"Shop.serve", "Shop.handle_order", "render_invoice"} <= {
        name.rpartition(".<locals>.")[2] for name in functions
    }
    self_ns, total_ns = functions["Shop.handle_order"]
    assert self_ns < total_ns
