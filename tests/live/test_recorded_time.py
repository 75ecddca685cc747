"""Whether recordings tell what the time was spent on where CPUs are scarce, and where nobody looked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pystack_profiler
from process_state import run_and_wait_ns
from pystack_profiler.aggregate import thread_totals

pytestmark = pytest.mark.live

#: Two functions of equal time.
EQUAL = """
import time
def a(): time.sleep(0.05)
def b(): time.sleep(0.05)
print("ready", flush=True)
while True: a(); b()
"""
SPIN = "print('ready', flush=True)\nwhile True: pass"
RECORDER = """
import sys
import pystack_profiler
from pystack_profiler.summary import account
begun = False
def progress(now):
    global begun
    if now.stats["taken"] and not begun: print("samples", flush=True)
    begun = begun or now.stats["taken"] > 0
recording = pystack_profiler.record(int(sys.argv[1]), duration_s=5, on_progress=progress)
with open(sys.argv[2], "w") as stream:
    pystack_profiler.export_folded(recording, stream)
print(account(recording))
"""
STALL_S = 1.5


@contextmanager
def python(program: str, cpu: int | None = None) -> Iterator[int]:
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            if cpu is not None:
                os.sched_setaffinity(process.pid, {cpu})
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()


def folded(path: Path) -> Counter[str]:
    """Microseconds by the innermost function, whether it waits or not."""
    found: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, microseconds = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith("<waiting: ")]
        found[frames[-1].partition(" (")[0]] += int(microseconds)
    return found


@pytest.mark.parametrize("stalls", [1, 10])
def test_a_stall_of_the_recorder_is_nobodys_time(stalls: int, tmp_path: Path) -> None:
    """It was the time of the one sample after it. Ten are those of a container's CPU limit."""
    path = tmp_path / "out.folded"
    with python(EQUAL) as pid:
        command = [sys.executable, "-c", RECORDER, str(pid), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as recorder:
            assert recorder.stdout is not None
            assert recorder.stdout.readline() == "samples\n"
            for _ in range(stalls):
                os.kill(recorder.pid, signal.SIGSTOP)
                time.sleep(STALL_S / stalls)
                os.kill(recorder.pid, signal.SIGCONT)
                time.sleep(0.05)
            last_line = recorder.stdout.read()
    found = folded(path)
    # It was 75 to 25 after one stall. With many, who is met in the rest of the time is chance.
    share = found["a"] / (found["a"] + found["b"])
    assert share == pytest.approx(0.5, abs=0.12 if stalls == 1 else 0.2)
    missing_s = found["<not sampled>"] / 1e6
    # Of each stall, a few intervals may still count as the time of a sample; a busy machine adds stalls.
    assert missing_s > STALL_S - 0.06 * stalls
    assert "; not sampled " in last_line


@pytest.mark.parametrize("native", [False, True])
def test_time_on_a_cpu_is_the_kernels(native: bool) -> None:
    """Three programs share a CPU. Ready to run is not running, though a sample sees no difference."""
    with python(SPIN, cpu=0) as pid, python(SPIN, cpu=0), python(SPIN, cpu=0):
        before = run_and_wait_ns(pid)
        recording = pystack_profiler.record(pid, duration_s=3, native=native)
        after = run_and_wait_ns(pid)
    (total,) = thread_totals(recording)
    assert total.on_cpu_ns is not None
    assert total.runnable_ns is not None
    ran, waited = (later - earlier for earlier, later in zip(before, after, strict=True))
    assert ran < 0.6 * (ran + waited)
    told_ns = total.on_cpu_ns + total.runnable_ns
    if not native:  # else it stands still for a part of the time
        # All of the time is one or the other. The kernel counts the last wait when it is over.
        assert told_ns == pytest.approx(total.seen_ns, abs=500e6)
    assert total.on_cpu_ns / told_ns == pytest.approx(ran / (ran + waited), abs=0.15)


def test_who_is_alone_on_a_cpu_does_not_wait() -> None:
    with python(SPIN) as pid:
        recording = pystack_profiler.record(pid, duration_s=2)
        ran, waited = run_and_wait_ns(pid)
    (total,) = thread_totals(recording)
    assert total.on_cpu_ns is not None
    assert total.runnable_ns is not None
    told_ns = total.on_cpu_ns + total.runnable_ns
    assert told_ns == pytest.approx(total.seen_ns, rel=0.02)
    assert total.runnable_ns <= waited
    assert ran


def test_a_target_that_is_no_longer_python_has_time_that_was_not_sampled() -> None:
    """Half of the time was silently missing."""
    program = (
        "import os, time\n"
        "print('ready', flush=True)\n"
        "end = time.monotonic() + 1.5\n"
        "while time.monotonic() < end: pass\n"
        "os.execv('/bin/sleep', ['sleep', '100'])\n"
    )
    with python(program) as pid:
        recording = pystack_profiler.record(pid, duration_s=3)
    assert recording.stats["taken"]
    not_sampled_s = recording.stats["not_sampled_ns"] / 1e9
    sampled_s = sum(total.seen_ns for total in thread_totals(recording)) / 1e9
    assert not_sampled_s > 1.2
    assert not_sampled_s + sampled_s == pytest.approx(3, abs=0.5)
