from __future__ import annotations

import io

import pytest

from profiler_fakes import stats
from pystack_profiler.driver import Progress
from pystack_profiler.profile import Recording
from pystack_profiler.progress import ProgressLine

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
