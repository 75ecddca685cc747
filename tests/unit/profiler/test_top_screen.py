"""The screen of `pystack top`, driven by keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

import pystack
from profiler_fakes import BatchWriter, Frame
from pystack.errors import NoSuchProcess
from pystack.sampling import FrameKind, SampleState
from pystack_profiler.page_file import load_page
from pystack_profiler.top.dialogs import LongText
from pystack_profiler.top.panes import Pane
from pystack_profiler.top.requests import Requests
from pystack_profiler.top.screen import TopApp
from pystack_profiler.top.selection import Look, Selection
from top_fakes import FakeRun, S

HOLDS = SampleState.CPU_KNOWN | SampleState.ON_CPU | SampleState.GIL_KNOWN | SampleState.HOLDS_GIL
NATIVE = Frame("dgemm", "/lib/blas.so", -1, -1, FrameKind.NATIVE, "/lib/blas.so")
EVIL = "\x1b[31m\u202e[bold]evil[/bold]"

Check = Callable[[TopApp, "Pilot[None]"], Awaitable[None]]


def a_run() -> tuple[FakeRun, BatchWriter]:
    """Two threads: of `main` with two functions, and of `worker` with one."""
    run, writer = FakeRun(native=True), BatchWriter()
    main, worker = writer.thread(100, "main"), writer.thread(101, "worker")
    for at, function in enumerate(("parse", "parse", "read"), 1):
        frames = [Frame("run"), Frame(function, line=3)]
        writer.sample(main, at * S, S, frames, HOLDS)
        writer.sample(worker, at * S, S, [Frame(EVIL), NATIVE], HOLDS, cpu_ns=S // 4)
    run.feed(writer, 3 * S)
    return run, writer


def run_alone(main: Callable[[], Coroutine[None, None, None]]) -> None:
    """On a thread of its own: the tests in a browser leave a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(main())).result()


def drive(check: Check, *, every_s: float = 60.0, size: tuple[int, int] = (110, 34)) -> TopApp:
    """Runs the screen without a terminal. It looks only when it is asked to, if not every 60 s."""
    run, _ = a_run()
    look = Look(Selection(mode="cpu"), every_s, once=False, no_color=False)
    app = TopApp(run.view, Requests(run.recording), look)

    async def main() -> None:
        async with app.run_test(size=size) as pilot:
            await check(app, pilot)

    run_alone(main)
    return app


def text_of(app: TopApp, pane: str) -> str:
    """The lines of a pane that are on the screen."""
    shown = app.query_one(f"#{pane}", Pane)
    return "\n".join(shown.render_line(y).text.rstrip() for y in range(shown.size.height))


def rows(app: TopApp, pane: str = "functions") -> list[str]:
    """The names in the lines of the functions."""
    return [line.split()[2] for line in text_of(app, pane).splitlines()[1:] if line.split()]


def test_keys_choose_what_is_shown() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        assert rows(app) == ["parse", "read", "dgemm", "run", "\\x1b[31m\\u202e[bold]evil[/bold]"]
        assert "main" in text_of(app, "head")
        await pilot.press("m")
        assert "functions by time with the GIL" in text_of(app, "functions")
        await pilot.press("m", "m", "m", "m")
        await pilot.press("s")
        assert app.selection.functions_by == "total"
        assert rows(app)[0] == "run"
        await pilot.press("s")
        assert rows(app)[1:3] == ["dgemm", "parse"]
        await pilot.press("n")
        assert "dgemm" not in rows(app)
        assert "native frames are hidden" in text_of(app, "functions")
        await pilot.press("n", "slash", *"PAR", "enter")
        assert rows(app) == ["parse"]
        assert "only with 'PAR'" in text_of(app, "functions")
        await pilot.press("escape")
        assert len(rows(app)) == 5

    drive(check)


def test_the_stack_is_that_of_the_chosen_line() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        assert "last stack of main 100" in text_of(app, "stack")
        await pilot.press("down", "down")
        assert "a recent stack with read" in text_of(app, "stack")
        assert "read  app.py:3" in text_of(app, "stack")
        app.query_one("#threads").focus()
        await pilot.press("down", "down")
        assert "last stack of worker 101" in text_of(app, "stack")
        await pilot.press("t")
        assert rows(app) == ["dgemm", "\\x1b[31m\\u202e[bold]evil[/bold]"]
        assert "of worker 101" in text_of(app, "functions")
        await pilot.press("s")
        assert app.selection.threads_by == "cpu"
        await pilot.press("t")
        assert len(rows(app)) == 5
        await pilot.click("#threads", offset=(5, 1))
        assert "last stack of main 100" in text_of(app, "stack")

    drive(check)


def test_the_chosen_row_stays_while_numbers_change_and_pause_keeps_them() -> None:
    run, writer = a_run()
    app = TopApp(run.view, Requests(run.recording), Look(Selection(mode="cpu"), 60, False, False))

    def work_more(seconds: int) -> None:
        for at in range(4, 4 + seconds):
            writer.sample(0, at * S, S, [Frame("run"), Frame("read", line=9)], HOLDS)
        run.feed(writer, seconds * S)
        app._tick()

    async def main() -> None:
        async with app.run_test(size=(110, 34)) as pilot:
            await pilot.press("down", "p")
            before = text_of(app, "functions")
            work_more(10)
            assert text_of(app, "functions") == before
            assert "PAUSED" in text_of(app, "head")
            await pilot.press("p")
            await pilot.pause()
            assert "PAUSED" not in text_of(app, "head")
            assert rows(app)[:2] == ["read", "parse"]
            functions = app.query_one("#functions", Pane)
            (parse,) = [r for r in run.look(app.selection).functions if r.name == "parse"]
            assert functions.chosen == parse.key

    run_alone(main)


def test_a_dump_and_the_recording_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> object:
        raise NoSuchProcess(f"there is no process with pid {pid}")

    monkeypatch.setattr(pystack, "dump", refuse)
    out = tmp_path / "so-far.html"

    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("d")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, LongText)
        assert "no process with pid 100." in app.screen.query_one(Pane).render_line(1).text
        await pilot.press("q")
        assert not isinstance(app.screen, LongText)
        said: list[str] = []
        for name in (str(out), str(tmp_path / "x.unknown"), "/proc/none/x.html"):
            await pilot.press("w")
            app.screen.query_one(Input).value = name
            await pilot.press("enter")
            while not (new := {one.message for one in app._notifications} - set(said)):
                await pilot.pause()
            said += new
        assert said[0] == f"written: {out} (6 samples)"
        assert "x.unknown; known: .html," in said[1]
        assert said[2].startswith("cannot write /proc/none/x.html")

    drive(check)
    assert load_page(str(out)).recording.sample_count == 6


def test_it_ends_by_keys_and_when_there_is_nothing_more_to_see() -> None:
    async def quits(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+c")

    assert drive(quits).return_code == 0
    run, _ = a_run()
    look = Look(Selection(mode="cpu"), 60, once=False, no_color=False)
    app = TopApp(run.view, Requests(run.recording), look, is_over=lambda: True)

    async def main() -> None:
        async with app.run_test():
            while app.is_running and app._exit is False:
                await asyncio.sleep(0.01)

    run_alone(main)


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (200, 60)])
def test_every_size_works(size: tuple[int, int]) -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("down", "end", "home", "pagedown", "tab", "down", "tab", "down", "tab")
        await pilot.resize_terminal(30, 8)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        for pane in app.query(Pane):
            for y in range(pane.size.height):
                assert pane.render_line(y).cell_length == pane.size.width

    drive(check, size=size)
