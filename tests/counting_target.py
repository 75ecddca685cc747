"""A target whose threads count, so that a test sees whether each of them runs."""

from __future__ import annotations

import contextlib
import mmap
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from process_state import run_state, thread_ids, wait_until
from targets import PROGRAMS, Interpreter

# A target that has not moved for so long does not move.
PROGRESS_TIMEOUT_S = 20.0
STOPPED_STATES = {"T", "t"}


class CountingTarget:
    """A running process of `programs/counting.py`."""

    def __init__(self, pid: int, counters: mmap.mmap) -> None:
        self.pid = pid
        self._counters = counters

    def counts(self) -> list[int]:
        return [count for (count,) in struct.iter_unpack("<Q", self._counters[:])]

    def states(self) -> list[str]:
        return [run_state(self.pid, tid) for tid in thread_ids(self.pid)]

    def assert_runs_on(self, what: str) -> None:
        """Every thread makes progress from now on, and none is stopped or traced."""
        before = self.counts()
        deadline = time.monotonic() + PROGRESS_TIMEOUT_S
        while not all(now > then for now, then in zip(self.counts(), before, strict=True)):
            assert time.monotonic() < deadline, f"{what}: no progress, states {self.states()}"
            time.sleep(0.0005)
        assert not STOPPED_STATES & set(self.states()), what
        assert status_field(self.pid, "TracerPid") == "0", what


@contextlib.contextmanager
def counting_target(
    interpreter: Interpreter, folder: Path, threads: int = 3
) -> Iterator[CountingTarget]:
    path = folder / "counters"
    path.write_bytes(bytes(8 * threads))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as counters:
        program = [str(PROGRAMS / "counting.py"), str(path), str(threads)]
        with interpreter.spawn(program, stdin=subprocess.DEVNULL) as process:
            target = CountingTarget(process.pid, counters)
            wait_until(lambda: 0 not in target.counts(), "all threads counting")
            yield target
            assert process.process.poll() is None


def status_field(pid: int, name: str) -> str:
    """One line of `/proc/PID/status`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        field, _, value = line.partition(":")
        if field == name:
            return value.strip()
    raise KeyError(name)
