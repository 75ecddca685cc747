"""The share of the time in which a target that is hard to stop stands still."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from process_state import run_and_wait_ns, thread_ids, wait_until
from tool_runs import run_tool

#: posix_spawn does not return before its child has opened the FIFO, and the thread that called it
#: sleeps uninterruptibly meanwhile. Another thread computes without the GIL.
SPAWNS = """
import hashlib, os, sys, threading
spin = lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
threading.Thread(target=spin, daemon=True).start()
os.write(1, b"!")
os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], 0, 0)])
"""


def states(pid: int) -> dict[int, str]:
    stats = {tid: Path(f"/proc/{pid}/task/{tid}/stat").read_text() for tid in thread_ids(pid)}
    return {tid: stat.rpartition(")")[2].split()[0] for tid, stat in stats.items()}


@pytest.fixture
def spawning(tmp_path: Path) -> Iterator[int]:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", SPAWNS, str(fifo)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            # Waiting for the disk is uninterruptible, too, and comes before the other thread.
            assert process.stdout is not None
            assert process.stdout.read(1) == b"!"
            wait_until(lambda: states(process.pid)[process.pid] == "D", "posix_spawn waits")
            yield process.pid
        finally:
            # Its child ends with an error or opens the FIFO, and so does posix_spawn.
            os.close(os.open(fifo, os.O_RDWR))
            process.kill()


def runnable_ns(pid: int, tid: int) -> int:
    """How long the thread ran or waited for a CPU: on a busy machine only the sum says something."""
    return sum(run_and_wait_ns(pid, tid))


@pytest.mark.parametrize("mode", ["--native", "--block"])
def test_a_thread_in_uninterruptible_sleep(mode: str, spawning: int, tmp_path: Path) -> None:
    """It was waited for in each sample, so that the others stood still for 85 % of the time."""
    (spinner,) = (tid for tid in thread_ids(spawning) if tid != spawning)
    begin_ns, begin = runnable_ns(spawning, spinner), time.monotonic_ns()
    done = run_tool("record", mode, "-r", "100", "-d", "3", "-o", tmp_path / "out.json", spawning)
    share = (runnable_ns(spawning, spinner) - begin_ns) / (time.monotonic_ns() - begin)
    assert done.returncode == 0, done.stderr
    assert share > 0.7
    assert states(spawning)[spinner] in "RS"


def test_a_dump_names_a_thread_in_uninterruptible_sleep(spawning: int) -> None:
    done = run_tool("dump", "--native", spawning)
    assert done.returncode == 0, done.stderr
    assert f"thread {spawning} is in uninterruptible sleep" in done.stdout + done.stderr
