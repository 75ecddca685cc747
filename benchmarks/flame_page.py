#!/usr/bin/env python3
"""How fast the flame graph page of a large recording is in Chromium.

The recording is made up: a million samples of some 30 frames with 100,000 distinct stacks, of 8 threads. Opening is the time from
the beginning of the navigation to the first frame with boxes. For each use of the page, the longest task of the main thread is
traced (scripts, layout and painting), as the browser's own DevTools do, until the page has done all that follows.

    python benchmarks/flame_page.py [--samples 1000000] [--stacks 100000] [--page FILE]

`--page`: measure this page instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

import chromium
from pystack_profiler import Recording, export_html
from random_recordings import large_recording

FRAMES = 30
TIMEOUT_MS = 300_000  # The machine may be busy.

# What a user does, as a function of the page.
USES: dict[str, Callable[[Page], None]] = {
    "move the mouse over boxes": lambda page: _sweep(page, 300, 500),
    "scroll": lambda page: page.mouse.wheel(0, 200),
    "zoom in": lambda page: page.mouse.click(400, 420),
    "zoom out": lambda page: page.keyboard.press("0"),
    "search": lambda page: page.fill("#query", "function_1"),
    "clear the search": lambda page: page.keyboard.press("Escape"),
    "regular expression": lambda page: page.fill("#query", "class[0-9]+"),
    "clear it": lambda page: page.keyboard.press("Escape"),
    "move in the graph by keys": lambda page: page.keyboard.press("ArrowDown"),
    "CPU": lambda page: page.keyboard.press("2"),
    "wall": lambda page: page.keyboard.press("1"),
    "inverted": lambda page: page.keyboard.press("i"),
    "zoom in, inverted": lambda page: page.mouse.click(400, 420),
    "zoom out, inverted": lambda page: page.keyboard.press("0"),
    "callers first": lambda page: page.keyboard.press("i"),
    "lines": lambda page: page.keyboard.press("l"),
    "functions": lambda page: page.keyboard.press("l"),
    "by thread": lambda page: page.keyboard.press("t"),
    "all threads as one": lambda page: page.keyboard.press("t"),
    "move over the timeline": lambda page: _sweep(page, 160, 160),
    "choose 10 % of the time": lambda page: _drag(page, 400, 530),
    "whole time": lambda page: page.keyboard.press("Escape"),
    "choose 90 % of the time": lambda page: _drag(page, 200, 1400),
    "move it by a key": lambda page: page.locator("#timeline-rows").press("ArrowRight"),
    "whole time again": lambda page: page.keyboard.press("Escape"),
    "dark": lambda page: page.keyboard.press("d"),
    "only my code": lambda page: page.keyboard.press("m"),
    "all code": lambda page: page.keyboard.press("m"),
    "callers and callees of a function": lambda page: (
        page.locator("#functions tbody tr").nth(3).click()
    ),
    "all functions": lambda page: page.keyboard.press("Backspace"),
    "sort by name": lambda page: page.locator("[data-sort=name]").click(),
    "one thread": lambda page: _choose_thread(page, "only"),
    "all threads": lambda page: _choose_thread(page, "All"),
}


def _sweep(page: Page, top: int, bottom: int) -> None:
    for step in range(20):
        page.mouse.move(200 + 50 * step, top + (bottom - top) * step / 20)


def _drag(page: Page, left: int, right: int) -> None:
    page.mouse.move(left, 160)
    page.mouse.down()
    page.mouse.move((left + right) / 2, 160)
    page.mouse.move(right, 160)
    page.mouse.up()


def _choose_thread(page: Page, button: str) -> None:
    page.evaluate("document.getElementById('threads').open = true")
    page.locator("#threads").get_by_role("button", name=button, exact=True).first.click()


class Trace:
    """The tasks of the main thread of the page's process."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._events: list[dict[str, Any]] = []
        self._session.on("Tracing.dataCollected", lambda data: self._events.extend(data["value"]))

    def longest_task_ms(self, page: Page, use: Callable[[Page], None]) -> tuple[float, float]:
        """The longest task, and the CPU time of the one with most: on a busy machine, it is less."""
        self._events.clear()
        done: list[bool] = []
        self._session.on("Tracing.tracingComplete", lambda _: done.append(True))
        categories = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
        config = {"includedCategories": categories, "recordMode": "recordUntilFull"}
        self._session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": config})
        use(page)
        chromium.wait_until_drawn(page)
        self._session.send("Tracing.end")
        while not done:
            page.wait_for_timeout(20)
        threads = {
            (event["pid"], event["tid"])
            for event in self._events
            if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
        }
        tasks = [
            event
            for event in self._events
            if event["name"].endswith("RunTask") and (event["pid"], event["tid"]) in threads
        ]
        wall = max((task.get("dur", 0) for task in tasks), default=0)
        cpu = max((task.get("tdur", 0) for task in tasks), default=0)
        return wall / 1000, cpu / 1000


def opening_ms(browser: Browser, path: Path) -> tuple[float, float, float]:
    """Until the scripts have made the tree, and until the first frame with boxes; the main thread's CPU time until then."""
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.set_default_timeout(TIMEOUT_MS)
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => { window.madeAt = performance.now();"
        " requestAnimationFrame(() => requestAnimationFrame(() => (window.shownAt = performance.now()))); });"
    )
    page.set_default_timeout(TIMEOUT_MS)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(path.as_uri())
    shown = 0.0
    while not shown:
        made, shown = page.evaluate("[window.madeAt, window.shownAt || 0]")
    metrics = session.send("Performance.getMetrics")["metrics"]
    cpu = next(one["value"] for one in metrics if one["name"] == "TaskDuration")
    page.close()
    return made, shown, 1000 * cpu


def measure(path: Path, count: int) -> dict[str, Any]:
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        openings = [opening_ms(browser, path) for _ in range(count)]
        made, shown, cpu = (statistics.median(times) for times in zip(*openings, strict=True))
        print(
            f"scripts done after {made:.0f} ms, boxes drawn after {shown:.0f} ms (CPU {cpu:.0f} ms)",
            flush=True,
        )
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.set_default_timeout(TIMEOUT_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.goto(path.as_uri())
        page.wait_for_timeout(1500)
        trace = Trace(page)
        uses = {}
        for name, use in USES.items():
            wall, cpu = uses[name] = trace.longest_task_ms(page, use)
            print(f"{wall:7.1f} ms (CPU {cpu:.1f} ms)  {name}", flush=True)
        browser.close()
    return {
        "file_bytes": path.stat().st_size,
        "made_ms": made,
        "opened_ms": shown,
        "uses_ms": uses,
        "errors": errors,
    }


def mean_depth(recording: Recording) -> float:
    depths = samples = 0
    for profile, track in recording.tracks():
        depth = [0]
        for parent in profile.tables.stack_parent[1:]:
            depth.append(depth[parent] + 1)
        for run in track.runs():
            samples += run.samples
            depths += run.samples * depth[run.stack]
    return depths / samples


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--stacks", type=int, default=100_000)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--openings", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.page
        if path is None:
            path = Path(folder) / "large.html"
            recording = large_recording(options.stacks, samples=options.samples, frames=FRAMES)
            print(f"{recording.sample_count:,} samples, {mean_depth(recording):.0f} frames deep")
            begin = time.perf_counter()
            with path.open("w", encoding="utf-8") as stream:
                export_html(recording, stream)
            print(f"written in {time.perf_counter() - begin:.1f} s")
        print(conditions())
        results = measure(path.absolute(), options.openings)
    print(f"{results['file_bytes'] / 1e6:.1f} MB")
    if results["errors"]:
        sys.exit("\n".join(results["errors"]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
