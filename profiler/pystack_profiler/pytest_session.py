"""The recording of a pytest session, for the plugin."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystack.errors import PystackError
from pystack.render.escape import escape

from .record_call import record
from .stats import format_share, format_time, plural
from .time_spans import heaviest_place, thread_of

_RATE_HZ = 200.0
_SLOWEST = 5


class SessionRecording:
    """Records the process of a test session."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._block = record(rate_hz=_RATE_HZ)
        self._tid = threading.get_native_id()
        self._spans: list[
            tuple[int, int, str]
        ] = []  # begin and end of each test, in ns, and its name
        self._problem: str | None = None

    def pytest_sessionstart(self) -> None:
        try:
            self._block.__enter__()
        except PystackError as error:
            self._problem = f"nothing was recorded: {error}"

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        begin_ns = time.monotonic_ns()
        yield
        self._spans.append((begin_ns, time.monotonic_ns(), item.nodeid))

    def pytest_sessionfinish(self) -> None:
        if self._problem is not None:
            return
        try:
            self._block.__exit__(None, None, None)
            self._block.save(self._path)
        except (OSError, PystackError) as error:
            self._problem = f"the recording was not written: {error}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("pystack")
        for line in self._summary():
            terminalreporter.write_line(escape(line))

    def _summary(self) -> Iterator[str]:
        if self._problem is not None:
            yield self._problem
            return
        recording = self._block.recording
        found = thread_of(recording, self._tid)
        slowest = sorted(self._spans, key=lambda span: span[0] - span[1])[:_SLOWEST]
        yield f"slowest of {plural(len(self._spans), 'test')}, and the function that took the most of each:"
        for begin_ns, end_ns, name in slowest:
            place = found and heaviest_place(*found, begin_ns, end_ns)
            where = "no samples"
            if place:
                share = format_share(place.time_ns, end_ns - begin_ns)
                where = f"{share} in {place.function} ({Path(place.file).name})"
            yield f"{format_time(end_ns - begin_ns):>9}  {name}: {where}"
        samples = plural(recording.sample_count, "sample")
        yield f"{self._path}: {samples} over {format_time(recording.duration_ns)}"


class WorkersNote:
    """Of pytest-xdist: each of its workers records itself, and this process nothing."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files = self._path.with_name(f"{self._path.stem}-gw*{self._path.suffix}")
        terminalreporter.section("pystack")
        terminalreporter.write_line(escape(f"a recording of each worker: {files}"))
