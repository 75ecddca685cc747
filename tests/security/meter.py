"""Runs the tool and measures what it took."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

#: What no target may make the tool take, in MiB.
MOST_MEMORY = 500

# The kernel's count of this program alone: `ru_maxrss` begins with what the parent had.
_MEASURED = """
import sys, time
from pathlib import Path
from pystack.cli import main
try:
    status = main(sys.argv[2:])
finally:
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    read = Path("/proc/self/io").read_text().split()[1]
    Path(sys.argv[1]).write_text(f"{peak} {time.process_time()} {read}")
sys.exit(status)
"""


class Run(NamedTuple):
    status: int
    stdout: str
    stderr: str
    peak_mib: int  # of resident memory
    seconds: float
    cpu_s: float
    read_mib: int  # of files


def seconds_to_end(*arguments: object, has_begun: Callable[[int], bool]) -> float:
    """How long `pystack` goes on after SIGTERM, which it gets once `has_begun` says so of its pid."""
    with subprocess.Popen(
        [sys.executable, "-m", "pystack", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as tool:
        try:
            while not has_begun(tool.pid):
                assert tool.poll() is None
                time.sleep(0.01)
            begin = time.monotonic()
            tool.send_signal(signal.SIGTERM)
            assert tool.wait(timeout=60) in {143, 0}
            return time.monotonic() - begin
        finally:
            tool.kill()


def measured(*arguments: object) -> Run:
    """`pystack` with these arguments, from beginning to end."""
    with tempfile.NamedTemporaryFile() as peak:
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, peak.name, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/tmp",
        )
        seconds = time.monotonic() - begin
        _, kib, _, cpu_s, read = Path(peak.name).read_text().split()
    return Run(
        status=done.returncode,
        stdout=done.stdout,
        stderr=done.stderr,
        peak_mib=int(kib) // 1024,
        seconds=seconds,
        cpu_s=float(cpu_s),
        read_mib=int(read) >> 20,
    )
