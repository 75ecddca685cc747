"""Big cores cost no more than small ones: nothing is read but what is needed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core_files import kernel_core, need_kernel_cores, script_target
from interpreters import available
from process_state import wait_until
from targets import Interpreter
from tool_runs import TOOL_FOLDER

pytestmark = pytest.mark.live

BIG_BYTES = 4 << 30
MAX_RSS_KIB = 60 << 10
ROUNDS = 5

# A page of 16 MiB each is there: the core is sparse, as those of big processes are not, but nobody
# who reads it can know where it has holes.
PROGRAM = """
import mmap, sys, time
heap = mmap.mmap(-1, max(SIZE, 4096), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
for place in range(0, SIZE, 16 << 20):
    heap[place] = 7

def waits(path):
    open(path, "w").close()
    time.sleep(1000)

waits("ready")
"""

READ = """
import json, sys, time
import pystack
begin = time.process_time()
snapshot = pystack.dump_core(sys.argv[1])
taken = time.process_time() - begin
# Of this process alone: ru_maxrss begins with what its parent had.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
frames = [frame.function for thread in snapshot.threads for frame in thread.frames]
print(json.dumps([taken, int(peak.split()[1]), frames]))
"""


def core_of_size(interpreter: Interpreter, size: int, folder: Path) -> Path:
    folder.mkdir()
    with script_target(interpreter, PROGRAM.replace("SIZE", str(size)), folder) as target:
        wait_until((folder / "ready").exists, "the script is ready")
        return kernel_core(target.pid, folder, signal.SIGABRT)


def read(path: Path) -> tuple[float, int]:
    """The best time of some, and the most memory."""
    times, peaks = [], []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", READ, path],
            cwd=TOOL_FOLDER,
            check=True,
            capture_output=True,
            encoding="utf-8",
        )
        taken, peak, frames = json.loads(done.stdout)
        assert frames == ["<module>", "waits"]
        times.append(taken)
        peaks.append(peak)
    return min(times), max(peaks)


@pytest.mark.parametrize(
    "interpreter",
    [one for one in available() if one.root is None and not one.free_threaded][-1:],
    ids=str,
)
def test_four_gibibytes(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    small = core_of_size(interpreter, 0, tmp_path / "small")
    big = core_of_size(interpreter, BIG_BYTES, tmp_path / "big")
    try:
        assert small.stat().st_size < BIG_BYTES / 100 < BIG_BYTES < big.stat().st_size
        small_seconds, _ = read(small)
        big_seconds, big_peak = read(big)
    finally:
        small.unlink()
        big.unlink()
    assert big_peak < MAX_RSS_KIB
    assert big_seconds < 1.5 * small_seconds + 0.002
