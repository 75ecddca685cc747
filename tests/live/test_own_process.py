"""Recordings of the own process: a block, a cell of a notebook, and a session of pytest."""

from __future__ import annotations

import html
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pystack.errors import InvalidArgument
from pystack_profiler import (
    Progress,
    RecordedBlock,
    RecordingAborted,
    load_ipython_extension,
    record,
)
from pystack_profiler.page_file import load_page

pytestmark = pytest.mark.live


def compute(seconds: float) -> int:
    turns, end_s = 0, time.thread_time() + seconds
    while time.thread_time() < end_s:
        turns += 1
    return turns


def test_a_block_reports_and_saves_what_it_ran(tmp_path: Path) -> None:
    block = record(rate_hz=200)
    with pytest.raises(InvalidArgument, match="with statement"):
        block.report()
    with block as r:
        compute(0.3)
        reasons = [r.recording.end_reason]
    reasons.append(r.recording.end_reason)
    assert reasons == ["running", "stopped"]
    assert re.search(r"\bcompute \(test_own_process\.py", r.report())
    assert "pystack-recorder" not in {track.identity.name for _, track in r.recording.tracks()}
    r.save(tmp_path / "out.html")
    assert load_page(str(tmp_path / "out.html")).recording.sample_count == r.recording.sample_count
    shown = r._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    # The page is text of an attribute, which it cannot end.
    page = re.fullmatch(r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts"[^>]*></iframe>', shown)
    assert page
    assert html.unescape(page[1]) == r.page()
    with pytest.raises(InvalidArgument, match=r"\.html"):
        r.save(tmp_path / "out.png")


class Shell:
    """The part of IPython's shell that is used."""

    def __init__(self) -> None:
        self.magics: dict[str, Callable[[str, str], object]] = {}

    def register_magic_function(
        self, function: Callable[..., object], kind: str, name: str
    ) -> None:
        assert kind == "cell"
        self.magics[name] = function

    def run_cell(self, cell: str) -> None:
        exec(cell, globals())


def test_the_magic_records_a_cell(tmp_path: Path) -> None:
    shell = Shell()
    load_ipython_extension(shell)
    file = tmp_path / "cell of mine.pystack"
    shown = shell.magics["pystack"](f"-r 200 -o '{file}'", "compute(0.2)")
    assert isinstance(shown, RecordedBlock)
    assert shown.recording.rate_hz == 200
    assert "compute (" in shown.report()
    assert file.exists()
    with pytest.raises(ValueError, match=r"^%%pystack: .*-x"):
        shell.magics["pystack"]("-x", "pass")


_TESTS = """
import time
def compute(seconds):
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        pass
def test_fast(): compute(0.01)
def test_slow(): compute(0.5)
def test_slower_and_wrong():
    time.sleep(1)
    assert False
"""


def test_pytest_names_the_slowest_tests(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(_TESTS)
    plugin = ["-p", "no:cacheprovider", "-p", "pystack_profiler.pytest_plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "--pystack=out.pystack"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "1 failed, 2 passed" in done.stdout
    lines = done.stdout.split("= pystack =")[1].splitlines()[1:5]
    assert lines[0].startswith("slowest of 3 tests")
    # A busy machine may make the computing one the slowest.
    slow = {line.split("::")[1].split(":")[0]: line for line in lines[1:]}
    assert list(slow)[-1] == "test_fast"
    assert re.search(r" % in compute \(test_some\.py\)$", slow["test_slow"])
    assert re.search(r" % in test_slower_and_wrong \(", slow["test_slower_and_wrong"])
    assert re.search(r"^out\.pystack: [\d,]+ samples over ", done.stdout, re.MULTILINE)
    assert (tmp_path / "out.pystack").exists()


def test_a_callback_that_raises_does_not_lose_the_recording() -> None:
    def fail(progress: Progress) -> None:
        if progress.recording.sample_count:
            raise LookupError("of the callback")

    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(RecordingAborted, match="of the callback") as raised:
            record(child.pid, rate_hz=200, on_progress=fail)
        child.kill()
    assert isinstance(raised.value.__cause__, LookupError)
    assert raised.value.recording.sample_count > 0
    assert raised.value.recording.end_reason == "failed"
