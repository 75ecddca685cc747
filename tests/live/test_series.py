"""`record --every`: the tables of real samplers are renewed, and no time is between two files."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from pystack_profiler.aggregate import function_totals
from pystack_profiler.recording_file import load

pytestmark = pytest.mark.live

_TARGET = """
import threading, time
def nap(): time.sleep(1000)
def leaf(n): return n * n
def busy():
    n = 0
    while True: n = leaf(n % 1000 + 1)
threading.Thread(target=nap, name="sleeper", daemon=True).start()
print(flush=True)
busy()
"""


@pytest.mark.parametrize("options", [[], ["--native"]])
def test_each_file_has_its_own_tables(options: list[str], tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _TARGET], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        record = [sys.executable, "-m", "pystack", "record", str(child.pid), "-o", "x-%t.pystack"]
        done = subprocess.run(
            [*record, "--every", "1s", "-d", "3500ms", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        child.kill()
    assert done.returncode == 0, done.stderr
    files = [load(str(path)) for path in sorted(tmp_path.glob("x-*.pystack"))]
    assert len(files) >= 3
    for one in files:
        names = {total.label.function for total in function_totals(one)}
        assert {"busy", "nap"} <= names
        # The thread is known by its name in each file, though it was asked for it once.
        assert "sleeper" in {track.identity.name for _, track in one.tracks()}
        assert {track.identity.pid for _, track in one.tracks()} == {child.pid}
    for before, after in itertools.pairwise(files):
        assert before.end_reason == "continued"
        ends = {
            track.identity.tid: before.unix_time_ns(track.end_ns) for _, track in before.tracks()
        }
        for _, track in after.tracks():
            gap_ns = after.unix_time_ns(track.start_ns) - ends[track.identity.tid]
            assert gap_ns >= 0
            # A sample that was lost, or came much too late, is a gap, as everywhere.
            if after.stats["taken"] == after.stats["attempted"] and not after.stats["missed"]:
                assert gap_ns == 0
