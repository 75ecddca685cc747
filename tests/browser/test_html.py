"""The flame graph page in a real browser: what it shows is what was recorded, and all its controls do what they say.

`PYSTACK_SCREENSHOTS=DIR` keeps pictures of what was seen.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from profiler_fakes import MS, BatchWriter, Frame, Wait, recording_of
from pystack.sampling import SampleState
from pystack_profiler import Recording, View, export_html
from pystack_profiler.comparison import compare
from pystack_profiler.exporters.html import Side, export_comparison
from pystack_profiler.view import DEFAULT_VIEW
from random_recordings import large_recording

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_SHOP = Path(__file__).parents[2] / "examples" / "shop.py"

_KNOWN = SampleState.CPU_KNOWN | SampleState.GIL_KNOWN
_RUNS = _KNOWN | SampleState.ON_CPU
_HOLDS = _RUNS | SampleState.HOLDS_GIL
_WAITS = _KNOWN | SampleState.WAITS_FOR_GIL

HANDLER = Frame("handler", "/srv/app.py", 20, 22)
MAIN = Frame("main", "/srv/app.py", 1, 5)
SERVE = Frame("Shop.serve", "/srv/shop.py", 10, 12)
PARSE = Frame("parse", "/usr/lib/python3.13/json/decoder.py", 30, 31)
WAIT = Frame("wait", "/srv/worker.py", 50, 55)


class FlameGraph:
    """The page of one recording."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())

    def boxes(self) -> list[dict[str, Any]]:
        boxes: list[dict[str, Any]] = self.page.evaluate("flameGraph.boxes()")
        return boxes

    def times(self) -> dict[tuple[int, str], int]:
        """(depth, name) -> milliseconds; depth 0 is all."""
        times: dict[tuple[int, str], int] = {}
        for box in self.boxes():
            key = (box["depth"], box["name"])
            times[key] = times.get(key, 0) + round(box["time"] / 1000)
        return times

    def box(self, name: str) -> dict[str, Any]:
        return max(
            (box for box in self.boxes() if box["name"] == name), key=lambda box: box["width"]
        )

    def hover(self, name: str) -> str:
        box = self.box(name)
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 9)
        return self.page.locator("#tip").inner_text()

    def click(self, name: str) -> None:
        box = self.box(name)
        self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 9)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def choose(self, text: str) -> None:
        self.page.locator(".toolbar").get_by_text(text, exact=True).click()

    def matches(self) -> str:
        self.page.evaluate("flameGraph.page.work.finish()")
        return self.page.locator("#matches").inner_text()

    def status(self) -> str:
        return self.page.locator("#status").inner_text()

    def colour(self, name: str) -> tuple[int, ...]:
        """Of the pixel at the right end of a box, where no text is."""
        self.page.wait_for_timeout(100)
        box = self.box(name)
        script = """([x, y]) => {
            const canvas = document.getElementById("canvas");
            const { left, top } = canvas.getBoundingClientRect();
            const ratio = canvas.width / canvas.clientWidth;
            return [...canvas.getContext("2d").getImageData((x - left) * ratio, (y - top) * ratio, 1, 1).data];
        }"""
        place = [box["x"] + box["width"] - 4, box["y"] + 4]
        return tuple(self.page.evaluate(script, place)[:3])

    def _note(self, kind: str, text: str) -> None:
        if kind == "error":
            self.errors.append(text)


Open = Callable[..., FlameGraph]


@pytest.fixture
def flame_graph(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    opened: list[FlameGraph] = []

    def open_page(
        recording: Recording | Path,
        view: View = DEFAULT_VIEW,
        *,
        dark: bool = False,
    ) -> FlameGraph:
        path = recording if isinstance(recording, Path) else tmp_path / f"{len(opened)}.html"
        if isinstance(recording, Recording):
            with path.open("w", encoding="utf-8") as stream:
                export_html(recording, stream, view)
        page = browser.new_page(
            viewport={"width": 1400, "height": 800}, color_scheme="dark" if dark else "light"
        )
        opened.append(FlameGraph(page, path))
        return opened[-1]

    yield open_page
    for number, graph in enumerate(opened):
        if folder := os.environ.get("PYSTACK_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            graph.page.wait_for_timeout(100)
            graph.page.screenshot(path=Path(folder) / f"html-{request.node.name}-{number}.png")
        graph.page.close()
        assert graph.errors == []
        assert [url for url in graph.requests if not url.startswith(("file:", "data:"))] == []


def small_recording() -> Recording:
    """A thread that serves for 60 ms of 100 and parses for 30 of these; one that waits for it."""
    writer = BatchWriter()
    main, worker = writer.thread(100, "MainThread"), writer.thread(101, "worker")
    stacks = [[MAIN]] * 4 + [[MAIN, SERVE]] * 2 + [[MAIN, SERVE._replace(line=14)]]
    stacks += [[MAIN, SERVE, PARSE]] * 3
    for tick, frames in enumerate(stacks, 1):
        writer.sample(main, tick * 10 * MS, 10 * MS, frames, _HOLDS if len(frames) > 1 else _RUNS)
        state = _WAITS if tick > 5 else _KNOWN
        writer.sample(worker, tick * 10 * MS, 10 * MS, [WAIT], state)
    return recording_of(
        writer, start_ns=1, end_ns=100 * MS, ticks=10, elapsed_ns=100 * MS, attempted=20, taken=20
    )


def test_boxes_are_as_wide_as_their_time(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    assert graph.times() == {
        (0, ""): 200,
        (1, "main"): 100,
        (1, "wait"): 100,
        (2, "Shop.serve"): 60,
        (2, "<waiting: GIL>"): 50,
        (3, "parse"): 30,
    }
    whole = graph.box("")["width"]
    assert graph.box("parse")["width"] == pytest.approx(whole * 0.15, rel=0.01)
    assert graph.page.title() == "python app.py (pid 100, CPython 3.13.5)"
    assert "100.0 Hz · 20 samples · none lost" in graph.page.locator("#facts").inner_text()


def test_a_box_tells_its_time_and_where_it_is(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    tip = re.split(r"[\n\t]+", graph.hover("Shop.serve"))
    assert tip[:2] == ["Shop.serve", "/srv/shop.py:10"]
    assert tip[2:] == [
        *("total", "60.0 ms", "60.0 %"),
        *("self", "30.0 ms", "30.0 %"),
        *("line 12", "50.0 ms", "83.3 %"),
        *("line 14", "10.0 ms", "16.7 %"),
    ]
    assert graph.status().startswith("Shop.serve /srv/shop.py:10 — total 60.0 ms, 60.0 %")
    graph.page.mouse.move(700, 700)
    assert not graph.page.locator("#tip").is_visible()


def test_modes_show_the_time_in_that_state(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    graph.choose("CPU")
    assert graph.times() == {
        (0, ""): 100,
        (1, "main"): 100,
        (2, "Shop.serve"): 60,
        (3, "parse"): 30,
    }
    graph.press("3")
    assert graph.times() == {(0, ""): 60, (1, "main"): 60, (2, "Shop.serve"): 60, (3, "parse"): 30}
    graph.press("4")
    assert graph.times() == {(0, ""): 50, (1, "main"): 50, (2, "Shop.serve"): 50, (3, "parse"): 30}
    graph.press("1")
    assert graph.times()[0, ""] == 200


def test_the_view_asked_for_is_shown_first(flame_graph: Open) -> None:
    graph = flame_graph(small_recording(), View("gil", "line", threads=True))
    assert graph.times() == {
        (0, ""): 60,
        (1, "MainThread 100"): 60,
        (2, "main:5"): 60,
        (3, "Shop.serve:12"): 50,
        (3, "Shop.serve:14"): 10,
        (4, "parse:31"): 30,
    }
    assert graph.page.get_by_label("Lines").is_checked()


def test_search_tells_the_share_of_what_it_finds(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    before = graph.colour("parse")
    graph.press("/")
    graph.page.keyboard.type("SERVE")
    assert graph.matches() == "60.0 % found"
    assert graph.colour("parse") != before  # faded: it is not what was looked for
    graph.page.fill("#query", "decoder.py")
    assert graph.matches() == "30.0 % found"
    graph.page.fill("#query", "/srv/shop")  # a path
    assert graph.matches() == "60.0 % found"
    graph.page.fill("#query", "/srv/")  # each stack counts once, and both threads do
    assert graph.matches() == "2.0 threads found"
    graph.page.fill("#query", "^(parse|wait)$")
    assert graph.matches() == "not found"
    graph.choose(".*")
    graph.page.fill("#query", "^(parse|wait) ")
    assert graph.matches() == "1.3 threads found"
    graph.page.fill("#query", "(")
    assert graph.matches() == "not a valid regular expression"
    graph.page.fill("#query", "parse")
    graph.press("Enter")  # to the graph, and to the first that is found
    assert graph.status().startswith("parse ")
    graph.press("Enter", "Escape")
    assert graph.matches() == ""
    assert graph.page.input_value("#query") == ""


def test_zoom_goes_in_and_out(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    whole = graph.box("")["width"]
    graph.click("Shop.serve")
    assert graph.box("Shop.serve")["width"] == pytest.approx(whole)
    assert graph.box("main")["width"] == pytest.approx(whole)
    assert graph.box("parse")["width"] == pytest.approx(whole / 2)
    assert ("wait" in {box["name"] for box in graph.boxes()}) is False
    assert "of the zoom\t\t50.0 %" in graph.hover("parse")
    graph.page.fill("#query", "parse")
    assert graph.matches() == "30.0 % found, 50.0 % of the zoom"
    graph.choose("GIL")  # the zoom stays where there is the same box
    assert graph.box("Shop.serve")["width"] == pytest.approx(whole)
    graph.choose("Wall")
    graph.click("main")
    assert graph.box("Shop.serve")["width"] == pytest.approx(whole * 0.6)
    graph.page.get_by_text("Reset zoom").click()
    assert graph.box("main")["width"] == pytest.approx(whole / 2)
    assert graph.page.get_by_text("Reset zoom").is_disabled()


def test_inverted_begins_with_what_ran(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    graph.press("i")
    assert graph.times() == {
        (0, ""): 200,
        (1, "wait"): 50,
        (1, "<waiting: GIL>"): 50,
        (1, "main"): 40,
        (1, "Shop.serve"): 30,
        (1, "parse"): 30,
        (2, "main"): 30,
        (2, "Shop.serve"): 30,
        (2, "wait"): 50,
        (3, "main"): 30,
    }
    assert "line 14\t10.0 ms\t33.3 %" in graph.hover("Shop.serve")
    graph.press("i")
    assert graph.times()[3, "parse"] == 30


def test_threads_can_be_chosen(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    graph.press("f")
    rows = graph.page.locator(".thread")
    assert [re.split(r"\n+", row) for row in rows.all_inner_texts()] == [
        ["MainThread 100", "100 ms", "only"],
        ["worker 101", "100 ms", "only"],
    ]
    graph.page.get_by_label("worker 101").uncheck()
    assert graph.times() == {
        (0, ""): 100,
        (1, "main"): 100,
        (2, "Shop.serve"): 60,
        (3, "parse"): 30,
    }
    assert graph.page.locator("#threads-summary").inner_text() == "MainThread 100"
    rows.nth(1).get_by_text("only").click()
    assert graph.times() == {(0, ""): 100, (1, "wait"): 100, (2, "<waiting: GIL>"): 50}
    graph.choose("None")
    assert graph.times() == {(0, ""): 0}
    assert "No time in this view" in graph.page.locator("#nothing").inner_text()
    graph.choose("All")
    graph.press("Escape", "t")
    assert graph.times()[1, "worker 101"] == 100


def test_processes_are_told_apart(flame_graph: Open) -> None:
    writers = [BatchWriter(), BatchWriter()]
    for number, writer in enumerate(writers, 1):
        writer.sample(writer.thread(1, "MainThread"), 30 * MS, 10 * MS * number, [MAIN])
    graph = flame_graph(recording_of(*writers), View(threads=True))
    assert graph.times() == {
        (0, ""): 30,
        (1, "app.py 100"): 10,
        (1, "app.py 200"): 20,
        (2, "MainThread 1"): 30,
        (3, "main"): 30,
    }
    graph.press("f")
    assert graph.page.locator(".process").all_inner_texts() == [
        "app.py 100\nonly",
        "app.py 200\nonly",
    ]
    graph.page.locator(".process").nth(1).get_by_text("only").click()
    assert graph.times()[0, ""] == 20


def test_keys_move_from_box_to_box(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    seen = []
    for key in (
        "ArrowDown",
        "ArrowDown",
        "ArrowDown",
        "ArrowDown",
        "ArrowUp",
        "ArrowUp",
        "ArrowRight",
    ):
        graph.press(key)
        seen.append(graph.status().split(" ")[0])
    assert seen == ["all", "main", "Shop.serve", "parse", "Shop.serve", "main", "wait"]
    graph.press("ArrowLeft", "ArrowDown", "Enter")
    assert graph.page.get_by_text("Reset zoom").is_enabled()
    graph.press("Backspace")
    assert graph.box("main")["width"] == pytest.approx(graph.box("")["width"])
    graph.press("0")
    assert graph.box("main")["width"] == pytest.approx(graph.box("")["width"] / 2)
    for key, dialog in (("?", "#help"), ("r", "#info")):
        graph.press(key)
        assert graph.page.locator(dialog).is_visible()
        graph.press("Escape")
        assert not graph.page.locator(dialog).is_visible()


def test_the_recording_tells_about_itself(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    graph.page.get_by_role("button", name="Recording").click()
    text = graph.page.locator("#info").inner_text()
    assert "20 of 20 attempted: 0 torn, 0 failed, 0 vanished" in text
    assert (
        "worker 101\t10\t100 ms\t0 s (0 %)\t0 s (0 %)\t50.0 ms (50.0 %)\t50.0 ms (50.0 %)" in text
    )
    assert "parse\t/usr/lib/python3.13/json/decoder.py:30\t100\t30.0 ms" in text


def test_kinds_of_code_have_colours_of_their_own(flame_graph: Open) -> None:
    writer = BatchWriter()
    thread = writer.thread(1)
    kinds = [
        Frame("own", "/srv/app.py"),
        Frame("library", "/usr/lib/python3.13/json/decoder.py"),
        Frame("native", "/usr/lib/libopenblas.so.0", kind=1),
        Frame("plumbing", "/usr/bin/python3.13", kind=1),
    ]
    for tick, frame in enumerate(kinds, 1):
        writer.sample(thread, tick * MS, MS, [frame])
    writer.sample(thread, 5 * MS, MS, [], SampleState.GC)
    graph = flame_graph(recording_of(writer))
    names = ["own", "library", "native", "plumbing", "<garbage collection>"]
    assert len({graph.colour(name) for name in names}) == 5
    legend = graph.page.locator("#legend").inner_text()
    assert legend.split("\n") == [
        "Python",
        "libraries",
        "native",
        "interpreter",
        "garbage collection",
    ]


def test_dark_mode_follows_the_system_and_a_button(flame_graph: Open) -> None:
    graph = flame_graph(small_recording(), dark=True)
    dark = graph.colour("main")
    assert sum(dark) < 380
    graph.press("d")
    assert sum(graph.colour("main")) > 450
    graph.page.get_by_label("Light or dark").click()
    assert graph.colour("main") == dark
    graph.page.emulate_media(color_scheme="light")
    assert sum(graph.colour("main")) > 450


def test_names_are_text_whatever_is_in_them(flame_graph: Open) -> None:
    evil = "x</script><img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
    writer = BatchWriter()
    names = [
        evil,
        "a\x00b\x1b[2J",
        "lone \udcff",
        "größe 函数 \U0001f600",
        "\u202egnp.exe",
        "constructor",
    ]
    for number, name in enumerate(names, 1):
        writer.sample(writer.thread(number, name), MS, MS * number, [Frame(name, name)])
    recording = recording_of(writer)
    recording.command = ("python", evil)
    graph = flame_graph(recording, View(threads=True))
    shown = {box["name"] for box in graph.boxes()}
    assert {
        evil,
        "a\\x00b\\x1b[2J",
        "lone \\udcff",
        "größe 函数 \U0001f600",
        "constructor",
    } <= shown
    assert evil in graph.hover(evil)
    graph.press("r", "Escape", "f")
    assert evil in graph.page.locator("#thread-list").inner_text()
    assert graph.page.evaluate("window.hacked") is None
    assert graph.page.locator("img").count() == 0


def test_a_very_deep_stack(flame_graph: Open) -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(1), MS, MS, [Frame("down")] * 20_000)
    graph = flame_graph(recording_of(writer))
    assert max(box["depth"] for box in graph.boxes()) == 20_000
    graph.page.evaluate("document.getElementById('graph').scrollTop = 300000")
    graph.page.mouse.move(600, 400)
    assert "down" in graph.status()
    graph.press("i")
    assert max(box["depth"] for box in graph.boxes()) == 20_000


def test_an_empty_recording(flame_graph: Open) -> None:
    graph = flame_graph(recording_of(BatchWriter(), start_ns=1, end_ns=MS))
    assert "No time in this view" in graph.page.locator("#nothing").inner_text()
    graph.press("i", "l", "t", "ArrowDown", "Enter")


def test_a_hundred_thousand_stacks(flame_graph: Open) -> None:
    """How long it takes is measured by benchmarks/flame_page.py; here, what bounds it."""
    graph = flame_graph(large_recording(100_000))
    assert len(graph.boxes()) < 20_000  # those that can be seen
    for key in ("l", "i"):
        graph.press(key)
        assert len(graph.boxes()) < 20_000
    graph.page.fill("#query", "function_1")
    assert graph.matches().endswith(" threads found")


def test_a_recording_of_the_workload(flame_graph: Open, tmp_path: Path) -> None:
    path = tmp_path / "shop.html"
    command = [sys.executable, str(_SHOP), "--seconds", "3"]
    subprocess.run(
        [sys.executable, "-m", "pystack", "record", "-r", "250", "-o", str(path), "--", *command],
        check=True,
        cwd=tmp_path,
        timeout=120,
    )
    graph = flame_graph(path)
    names = {box["name"] for box in graph.boxes()}
    assert {"Shop.serve", "Shop.handle_order", "render_invoice", "wait_for_turn"} <= names
    graph.press("t")
    names = {str(box["name"]).rpartition(" ")[0] for box in graph.boxes()}
    assert {"MainThread", "worker_0", "packer", "books", "stock", "suppliers", "patient"} <= names
    graph.press("t", "i", "/")
    graph.page.keyboard.type("Shop")
    assert re.fullmatch(r"[\d.]+ (%|threads) found", graph.matches())


def busy_server() -> Recording:
    """An event loop whose handler sleeps for 57 of 100 ms; six workers of a pool have nothing to do."""
    library = "/usr/lib/python3.13"
    loop = [
        Frame("<module>", "/srv/app.py", 1, 9),
        Frame("_find_and_load", "<frozen importlib._bootstrap>", 1, 2),
        Frame("BaseEventLoop._run_once", f"{library}/asyncio/base_events.py", 1900, 1950),
    ]
    handler = [*loop, Frame("Handle._run", f"{library}/asyncio/events.py", 80, 88), HANDLER]
    select = [*loop, Frame("EpollSelector.select", f"{library}/selectors.py", 440, 452)]
    start = Frame("Thread._bootstrap", f"{library}/threading.py", 1000, 1014)
    worker = [start, Frame("_worker", f"{library}/concurrent/futures/thread.py", 70, 90)]
    writer = BatchWriter()
    main = writer.thread(100, "MainThread")
    for tick in range(1, 101):
        sleeps = tick % 100 < 57
        wait = Wait("timer") if sleeps else Wait("poll")
        writer.sample(main, tick * MS, MS, handler if sleeps else select, _KNOWN, wait=wait)
    for number in range(6):
        thread = writer.thread(101 + number, f"pool_{number}")
        writer.sample(thread, 100 * MS, 100 * MS, worker, _KNOWN, wait=Wait("work"))
    return recording_of(writer, start_ns=1, end_ns=100 * MS, taken=106)


def test_the_first_picture_is_the_answer(flame_graph: Open) -> None:
    """A sleep in a handler is the largest box; what waits for work is one toggle away, and is no function."""
    graph = flame_graph(busy_server())
    assert graph.times() == {
        (0, ""): 57,
        (1, "<module> (app.py)"): 57,
        (2, "BaseEventLoop._run_once"): 57,
        (3, "Handle._run"): 57,
        (4, "handler"): 57,
        (5, "<waiting: sleep>"): 57,
    }
    assert "total\t57.0 ms\t57.0 %\nself\t57.0 ms\t57.0 %\nof it waiting\t57.0 ms" in graph.hover(
        "handler"
    )
    assert graph.page.locator("#base").inner_text() == "100 % = the recording's time, 100 ms"
    assert graph.page.locator("#functions tbody tr").first.inner_text().startswith("57.0 %\t57.0 %")
    assert graph.page.locator("#idle-text").inner_text() == "Idle: 6.4 threads, show"
    graph.press("u")
    assert graph.times()[1, "idle"] == 643
    graph.press("u", "m")
    assert graph.times() == {
        (0, ""): 57,
        (1, "<module> (app.py)"): 57,
        (2, "handler"): 57,
        (3, "<waiting: sleep>"): 57,
    }
    graph.press("m", "b")
    assert graph.times()[2, "_find_and_load"] == 57
    graph.press("f")
    graph.page.locator(".thread").nth(1).get_by_text("only").click()
    said = graph.page.locator("#nothing").inner_text()
    assert "idle all the time" in said
    assert said.endswith("is recorded with --tasks.")


def test_functions_are_in_a_table(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())

    def rows(table: str = "#functions table") -> list[list[str]]:
        found = graph.page.locator(f"{table} tbody tr").all_inner_texts()
        return [row.split("\t") for row in found]

    assert rows() == [
        ["100.0 %", "100.0 %", "", "100.0 %", "wait worker.py:50"],
        ["40.0 %", "100.0 %", "", "", "main app.py:1"],
        ["30.0 %", "60.0 %", "30.0 %", "", "Shop.serve shop.py:10"],
        ["30.0 %", "30.0 %", "30.0 %", "", "parse decoder.py:30"],
    ]
    graph.page.get_by_role("button", name="GIL").press("Enter")
    assert [row[4].split()[0] for row in rows()] == ["Shop.serve", "parse", "main", "wait"]
    graph.press("s", "s", "ArrowDown", "ArrowUp", "Enter")
    assert rows("[aria-label=Callers]") == [["60.0 %", "main app.py:1"]]
    assert rows("[aria-label=Callees]") == [["30.0 %", "parse decoder.py:30"]]
    graph.page.locator("[aria-label=Callees] tr").press("Enter")
    assert "parse" in graph.page.locator(".opened b").inner_text()
    graph.press("Backspace")
    assert len(rows()) == 4
    assert graph.page.evaluate("document.activeElement.innerText").startswith("30.0 %\t30.0 %")
    graph.page.locator("#graph").focus()
    graph.press("ArrowDown", "ArrowDown", "o")  # the selected box
    assert graph.page.locator(".opened b").inner_text() == "main"
    graph.press("Backspace")
    graph.page.fill("#query", "serve")
    assert [row[4] for row in rows()] == ["Shop.serve shop.py:10"]


def test_the_address_has_the_view(flame_graph: Open) -> None:
    graph = flame_graph(small_recording())
    page, start = graph.page, graph.page.url
    graph.press("2", "i", "m")
    graph.page.get_by_role("button", name="Total").click()
    graph.click("Shop.serve")
    page.fill("#query", "mai")
    page.fill("#query", "main")
    address, view = page.url, graph.times()
    assert address.startswith(f"{start}#mode=cpu&zoom=")
    page.go_back()
    assert page.input_value("#query") == ""
    page.go_back()
    assert page.get_by_text("Reset zoom").is_disabled()
    for _ in range(4):
        page.go_back()
    assert page.url == start
    assert graph.times()[0, ""] == 200
    assert page.get_by_label("Wall").is_checked()
    page.goto(f"{start}#time=20000-50000")  # an address that was typed, or kept
    assert graph.times()[0, ""] == 60
    page.go_back()
    assert graph.times()[0, ""] == 200
    page.goto("about:blank")
    page.goto(address)
    assert graph.times() == view
    assert graph.matches() == "100.0 % found"
    assert page.get_by_label("Only my code").is_checked()


def compared() -> tuple[Recording, Recording]:
    """Before, main spends half of its time in serve, after, a quarter, and another quarter in parse."""
    sides = []
    for inner in ([[MAIN, SERVE]] * 2, [[MAIN, SERVE], [MAIN, SERVE, PARSE], [MAIN, PARSE]]):
        writer = BatchWriter()
        main = writer.thread(100, "MainThread")
        stacks = [[MAIN], [MAIN], *inner] if len(inner) == 2 else [[MAIN], *inner]
        for tick in range(1, 1001):
            frames = stacks[tick % 4]
            writer.sample(main, tick * 10 * MS, 10 * MS, frames, _RUNS)
        sides.append(recording_of(writer, start_ns=1, end_ns=10_000 * MS, taken=1000))
    return sides[0], sides[1]


def test_a_differential_flame_graph(flame_graph: Open, tmp_path: Path) -> None:
    before, after = compared()
    path = tmp_path / "diff.html"
    with path.open("w", encoding="utf-8") as stream:
        sides = Side("old.pystack", [before]), Side("new.pystack", [after])
        export_comparison(*sides, compare([before], [after], View()), stream)
    graph = flame_graph(path)
    facts = graph.page.locator("#facts").inner_text()
    assert facts == "before: old.pystack, 1,000 samples · after: new.pystack, 1,000 samples"
    assert graph.times() == {
        (0, ""): 10_000,
        (1, "main"): 10_000,
        (2, "Shop.serve"): 5000,
        (2, "parse"): 2500,
        (3, "parse"): 2500,
    }
    tip = re.split(r"[\n\t]+", graph.hover("parse"))
    assert tip[2:8] == ["before", "0 %", "after", "25.0 %", "change", "+25.0 points"]
    graph.page.mouse.move(700, 700)
    red, green, blue = graph.colour("parse")
    assert red > green + 30
    assert red > blue + 30
    same = graph.colour("Shop.serve")  # as much as before
    assert max(same) - min(same) < 20
    graph.choose("Before")
    assert graph.times() == {(0, ""): 10_000, (1, "main"): 10_000, (2, "Shop.serve"): 5000}
    graph.choose("Inverted")
    red, green, blue = graph.colour("Shop.serve")  # 50 % before, 25 % after
    assert blue > red + 30
    assert not graph.page.locator("#thread-roots").is_visible()
    assert not graph.page.locator("#timeline").is_visible()


def busy_then_idle() -> Recording:
    """100 ms of work, 10 of them in parse, then 100 ms of waiting; another thread waits for the GIL meanwhile."""
    writer = BatchWriter()
    main, worker = writer.thread(100, "MainThread"), writer.thread(101, "worker")
    for tick in range(1, 21):
        frames, state = ([MAIN, SERVE], _HOLDS) if tick <= 10 else ([MAIN, WAIT], _KNOWN)
        frames = [MAIN, PARSE] if tick == 1 else frames
        writer.sample(main, tick * 10 * MS, 10 * MS, frames, state)
        writer.sample(worker, tick * 10 * MS, 10 * MS, [WAIT], _WAITS if tick <= 10 else _RUNS)
    return recording_of(writer, start_ns=1, end_ns=200 * MS)


def test_a_stretch_of_time(flame_graph: Open) -> None:
    """By mouse and by keyboard; the timeline has the colours of what the threads did."""
    graph = flame_graph(busy_then_idle())
    rows = graph.page.locator("#timeline-rows")
    graph.page.evaluate(
        """() => new Promise((done) => {
            const look = () => (flameGraph.page.timeline.painter.width > 0 ? done() : setTimeout(look, 10));
            look();
        })"""
    )
    area = rows.bounding_box()
    assert area is not None
    left = graph.page.evaluate("flameGraph.page.timeline.painter.left")
    middle = (area["x"] + left + area["x"] + area["width"]) / 2
    end, y = area["x"] + area["width"] - 1, area["y"] + 25

    def pixel(x: float, row: int) -> list[int]:
        script = """([x, y]) => {
            const canvas = document.getElementById("timeline-canvas");
            const { left, top } = canvas.getBoundingClientRect();
            const ratio = canvas.width / canvas.clientWidth;
            return [...canvas.getContext("2d").getImageData((x - left) * ratio, (y - top) * ratio, 1, 1).data];
        }"""
        graph.page.wait_for_timeout(50)
        found: list[int] = graph.page.evaluate(script, [x, area["y"] + 18 + 18 * row + 9])
        return found[:3]

    running, gil, waiting = [0x3B, 0x8F, 0x66], [0xD2, 0x54, 0x3F], [0xA9, 0xBD, 0xD6]
    assert [pixel(middle - 50, 0), pixel(middle + 50, 0)] == [running, waiting]
    assert [pixel(middle - 50, 1), pixel(middle + 50, 1)] == [gil, running]
    graph.page.mouse.move(middle + 50, y)
    assert "waiting" in graph.page.locator("#tip").inner_text()
    whole = graph.times()

    graph.page.mouse.move(middle, y)
    graph.page.mouse.down()
    graph.page.mouse.move(end + 200, y)  # ends where the time ends
    graph.page.mouse.up()
    assert graph.times() == {
        (0, ""): 200,
        (1, "main"): 100,
        (1, "wait"): 100,
        (2, "wait"): 100,
    }
    assert graph.page.locator("#stretch").inner_text() == "100 ms to 200 ms (100 ms)"
    graph.press("4")
    assert "of the whole time only" in graph.page.locator("#nothing").inner_text()
    graph.press("1", "Escape")
    assert graph.times() == whole

    graph.press("w")
    assert graph.page.evaluate("document.activeElement.id") == "timeline-rows"
    graph.press(*["ArrowRight"] * 50, *["Shift+ArrowLeft"] * 30, "Shift+ArrowRight")
    assert graph.page.locator("#stretch").inner_text() == "42.0 ms to 100 ms (58.0 ms)"
    assert graph.times() == {
        (0, ""): 116,
        (1, "main"): 58,
        (1, "wait"): 58,
        (2, "Shop.serve"): 58,
        (2, "<waiting: GIL>"): 58,
    }
    graph.press("ArrowRight", "Enter")  # the stretch moves, then has the full width
    assert graph.page.locator("#stretch").inner_text() == "44.0 ms to 102 ms (58.0 ms)"
    assert pixel(end - 5, 0) == waiting
    graph.press("Escape")
    assert graph.times() == whole
    assert pixel(end - 5, 0) == waiting
    graph.press("Escape")  # back to the whole time
    assert pixel(middle - 50, 0) == running
    graph.press("w", "Shift+ArrowRight")
    graph.page.get_by_role("button", name="Whole time").click()
    assert graph.times() == whole


def test_an_opened_function_shows_its_lines(flame_graph: Open) -> None:
    """The text is read from the file, for root only if everyone may read it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        program = folder / "app.py"
        program.write_text("def serve():\n    wait()\n    return '<b>'\n")
        program.chmod(0o644)
        writer = BatchWriter()
        thread = writer.thread(1, "MainThread")
        for line, ms in ((2, 30), (3, 10)):
            frames = [Frame("serve", str(program), 1, line)] + ([PARSE] if line == 2 else [])
            writer.sample(thread, (30 if line == 2 else 40) * MS, ms * MS, frames, _RUNS)
        graph = flame_graph(recording_of(writer, start_ns=0, end_ns=40 * MS))
    graph.press("ArrowDown", "ArrowDown", "o")
    rows = graph.page.get_by_role("table", name="Lines").locator("tbody tr")
    assert [row.split("\t") for row in rows.all_inner_texts()] == [
        ["1", "", "", "def serve():"],
        ["2", "", "75.0 %", "    wait()"],
        ["3", "25.0 %", "25.0 %", "    return '<b>'"],
    ]
    note = graph.page.locator("#functions .note")
    assert "has changed since" in note.inner_text()  # the fake recording began in 1970


@pytest.mark.parametrize("width", [700, 1200])
def test_the_threads_are_chosen_inside_of_the_window(flame_graph: Open, width: int) -> None:
    graph = flame_graph(busy_then_idle())
    graph.page.set_viewport_size({"width": width, "height": 700})
    graph.press("f")
    panel = graph.page.locator("#threads-panel")
    panel.wait_for()
    # It is moved after it was shown.
    graph.page.wait_for_function(
        "() => document.getElementById('threads-panel').getBoundingClientRect().right <= innerWidth"
    )
    box = panel.bounding_box()
    assert box is not None
    assert box["x"] >= 0
