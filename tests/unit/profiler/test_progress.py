from __future__ import annotations

import io
from dataclasses import replace

import pytest

from profiler_fakes import stats
from pystack_profiler.driver import Progress
from pystack_profiler.profile import Recording
from pystack_profiler.progress import LossAdvice, ProgressLine

PROGRESS = Progress(
    elapsed_s=12.3,
    processes=1,
    threads=5,
    stats=stats(attempted=1240, taken=1234, torn=2, ticks=99, elapsed_ns=10**9),
    recording=Recording(pid=4711),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_line_rewritten_and_wiped_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    with ProgressLine(terminal, 4711, 30.0, shown=True) as line:
        line.update(PROGRESS)
        line.update(PROGRESS)
    assert terminal.getvalue() == (
        "\r\x1b[KRecording 4711: 12 s of 30 s, 99 Hz, 1,234 samples, 5 threads, 2 errors,"
        " coverage 99.52 % (Ctrl-C to finish)\r\x1b[K"
    )


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "12 s of 30 s, 99 Hz, 1,234 samples, 2 errors (Ctrl-C to finish)"),
        (70, "12 s of 30 s, 2 errors (Ctrl-C to finish)"),
        (50, "12 s of 30 s (Ctrl-C to finish)"),
    ],
)
def test_a_narrow_terminal_shows_how_to_finish(
    columns: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    with ProgressLine(terminal, 4711, 30.0, shown=True) as shown:
        shown.update(PROGRESS)
    assert terminal.getvalue() == f"\r\x1b[KRecording 4711: {line}\r\x1b[K"


@pytest.mark.parametrize(
    ("duration_s", "shown", "said"),
    [
        (None, True, "pystack: recording 4711 (Ctrl-C or SIGINT to finish)\n"),
        (30.0, True, ""),
        (None, False, ""),
    ],
)
def test_without_a_terminal_the_begin_is_said(
    duration_s: float | None, shown: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressLine(io.StringIO(), 4711, duration_s, shown=shown) as line:
        line.update(PROGRESS)
    assert capsys.readouterr().err == said


def test_it_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()
    with ProgressLine(terminal, 4711, None, shown=True) as line:
        line.update(PROGRESS)
    assert max(len(part) for part in terminal.getvalue().split("\r\x1b[K")) == 29


@pytest.mark.parametrize(("stream", "shown"), [(io.StringIO(), True), (Terminal(), False)])
def test_nothing_where_no_one_looks(stream: io.StringIO, shown: bool) -> None:
    with ProgressLine(stream, 4711, None, shown=shown) as line:
        line.update(PROGRESS)
    assert stream.getvalue() == ""


def advice_for(*, stops_target: bool = False, elapsed_s: float = 2.0, **counts: int) -> list[str]:
    said: list[str] = []
    advice = LossAdvice(said.append)
    recording = Recording(pid=4711, stops_target=stops_target)
    progress = replace(PROGRESS, stats=stats(**counts), recording=recording, elapsed_s=elapsed_s)
    advice.update(progress)
    advice.update(progress)
    return said


def test_advice_is_given_once_while_the_recording_runs() -> None:
    assert advice_for(attempted=100, taken=60, torn=40) == []
    assert advice_for(attempted=100, taken=4, torn=96, elapsed_s=0.5) == []
    assert advice_for(attempted=100, taken=4, torn=96) == [
        "Warning: 96 % of the samples are lost, because the stacks change while they are read, and"
        " threads are not stopped for it (--no-block, or not permitted)"
    ]
    (said,) = advice_for(attempted=100, failed=100, stops_target=True)
    assert said.endswith("could not be stopped and read in time")
    (said,) = advice_for(attempted=100, failed=90, torn=10)
    assert said.endswith("could not be read")
