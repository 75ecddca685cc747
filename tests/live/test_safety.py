"""Whatever happens to the tool: who ran before runs on, and who was stopped stays so."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pystack
from counting_target import CountingTarget, counting_target
from interpreters import required
from marks import each_of
from process_state import run_state, thread_ids, wait_until
from targets import PROGRAMS, Interpreter
from tool_runs import TOOL, TOOL_FOLDER, TOOL_TIMEOUT_S, dump_json, run_tool, takes_samples
from truth_compare import differences
from truthful_target import truthful_target

pytestmark = pytest.mark.live

# The tool does the same to all of them; two that differ most are enough.
RELEASE_BUILDS = [one for one in required() if not (one.debug or one.jit or one.free_threaded)]
OLDEST, NEWEST = RELEASE_BUILDS[0], RELEASE_BUILDS[-1]
oldest_and_newest = each_of(dict.fromkeys([OLDEST, NEWEST]))
BLOCK = pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])

KILLS = 200


# Each run is forked from a process that has imported everything: the kills then hit the work, not the start of Python,
# and there is time for many.
FORKER = """
import gc, importlib, os, pkgutil, signal, sys
import pystack, pystack_profiler
from pystack.__main__ import main
for package in (pystack, pystack_profiler):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name != "pystack.__main__":
            importlib.import_module(module.name)
gc.freeze()
def forever(pid):
    while True:
        pystack.dump(pid)
print(flush=True)
while sys.stdin.readline():
    child = os.fork()
    if child == 0:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        if sys.argv[1] == "forever":
            forever(int(sys.argv[2]))
        os._exit(main())
    print(child, flush=True)
    # Until then it is at worst a zombie, which can be killed.
    sys.stdin.readline()
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Forker:
    """Starts runs of the command, one at a time; or of stopping dumps that never end: `forever PID`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _ask(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def _start(self) -> int:
        """The process ID of the run."""
        return self._ask()

    def _wait(self) -> int:
        """The status of the run that was started."""
        return self._ask()

    def run_time_s(self) -> float:
        """Of one run that nobody kills."""
        start = time.monotonic()
        self._start()
        assert self._wait() == 0
        return time.monotonic() - start

    def killed_after(self, delay_s: float) -> None:
        pid = self._start()
        try:
            time.sleep(delay_s)
        finally:
            os.kill(pid, signal.SIGKILL)
        assert self._wait() in (0, signal.SIGKILL)


@contextlib.contextmanager
def forker(arguments: list[str]) -> Iterator[Forker]:
    command = [sys.executable, "-c", FORKER, *arguments]
    with subprocess.Popen(
        command,
        cwd=TOOL_FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Forker(process)
        # It ends at the end of its input.


def killed_at_random_moments(
    target: CountingTarget, arguments: list[str], first_s: float, last_s: float, times: int
) -> None:
    """Start the command and kill it, at moments spread over its run."""
    moments = random.Random(f"{arguments}")
    with forker(arguments) as runs:
        for number in range(times):
            delay_s = moments.uniform(first_s, last_s)
            runs.killed_after(delay_s)
            target.assert_runs_on(f"kill {number}, after {delay_s * 1e3:.1f} ms")


def test_killed_in_a_dump(tmp_path: Path) -> None:
    """Half of the kills hit the command; the stop is short in it, so the others hit a process
    that does nothing but stopping dumps."""
    with counting_target(NEWEST, tmp_path, threads=5) as target:
        command = ["dump", "--json", str(target.pid)]
        with forker(command) as runs:
            whole_s = runs.run_time_s()
        killed_at_random_moments(target, command, 0, whole_s * 1.1, KILLS // 2)
        killed_at_random_moments(target, ["forever", str(target.pid)], 0, whole_s, KILLS // 2)


def test_killed_in_a_recording(tmp_path: Path) -> None:
    with counting_target(NEWEST, tmp_path, threads=5) as target:
        command = ["record", "--block", "-r", "2000", "-o", str(tmp_path / "out.json")]
        whole = [*command, "-d", "60", str(target.pid)]
        killed_at_random_moments(target, whole, 0, 0.15, KILLS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_interrupted_recording(number: signal.Signals, tmp_path: Path) -> None:
    """It detaches and writes the file."""
    out = tmp_path / "out.json"
    with counting_target(NEWEST, tmp_path) as target:
        tool = subprocess.Popen(
            [*TOOL, "record", "--block", "-r", "500", "-o", str(out), str(target.pid)],
            cwd=TOOL_FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            wait_until(lambda: takes_samples(tool.pid), "the first samples")
            tool.send_signal(number)
            _, errors = tool.communicate(timeout=TOOL_TIMEOUT_S)
        finally:
            tool.kill()
            tool.wait()
        target.assert_runs_on(f"{number.name} to the recording")
    assert out.stat().st_size > 100, errors


@BLOCK
@oldest_and_newest
def test_stopped_target_stays_stopped(
    interpreter: Interpreter, options: list[str], tmp_path: Path
) -> None:
    with counting_target(interpreter, tmp_path) as target:
        os.kill(target.pid, signal.SIGSTOP)
        wait_until(lambda: set(target.states()) == {"T"}, "the target stopped")
        before = target.counts()
        for _ in range(5):
            dump = dump_json(target.pid, *options)
            assert dump["was_stopped"] is True
            assert len(dump["threads"]) == len(before)
            assert {thread["stack_end"] for thread in dump["threads"]} == {"complete"}
            assert all(len(thread["frames"]) > 100 for thread in dump["threads"])
        assert set(target.states()) == {"T"}
        assert target.counts() == before
        os.kill(target.pid, signal.SIGCONT)
        target.assert_runs_on("continued")


@BLOCK
def test_truth_of_a_stopped_target(options: list[str], tmp_path: Path) -> None:
    with truthful_target(NEWEST, "stage.py", tmp_path) as target:
        os.kill(target.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: run_state(target.pid) == "T", "the target stopped")
            dump = dump_json(target.pid, *options)
            states = {run_state(target.pid, tid) for tid in thread_ids(target.pid)}
        finally:
            os.kill(target.pid, signal.SIGCONT)
        assert states == {"T"}
        assert differences(target.truth, dump) == []


def test_a_recording_says_that_the_target_is_stopped(tmp_path: Path) -> None:
    with counting_target(NEWEST, tmp_path) as target:
        command = ("record", target.pid, "-d", "0.2", "-o", tmp_path / "out.html")
        assert "is stopped" not in run_tool(*command).stderr
        os.kill(target.pid, signal.SIGSTOP)
        wait_until(lambda: set(target.states()) == {"T"}, "the target stopped")
        done = run_tool(*command)
        assert done.returncode == 0, done.stderr
        assert f"Warning: process {target.pid} is stopped (for example by SIGSTOP)" in done.stderr
        assert set(target.states()) == {"T"}
        os.kill(target.pid, signal.SIGCONT)
        target.assert_runs_on("continued")


def test_stopped_target_stays_stopped_when_the_tool_is_killed(tmp_path: Path) -> None:
    with counting_target(NEWEST, tmp_path) as target:
        os.kill(target.pid, signal.SIGSTOP)
        wait_until(lambda: set(target.states()) == {"T"}, "the target stopped")
        before = target.counts()
        moments = random.Random(1)
        always = f"import pystack\nwhile True: pystack.dump({target.pid})"
        for _ in range(20):
            tool = subprocess.Popen([sys.executable, "-c", always], cwd=TOOL_FOLDER)
            time.sleep(moments.uniform(0.1, 0.3))
            tool.kill()
            tool.wait(timeout=TOOL_TIMEOUT_S)
            wait_until(lambda: set(target.states()) == {"T"}, "stopped as before", 10)
        assert target.counts() == before
        os.kill(target.pid, signal.SIGCONT)
        target.assert_runs_on("continued")


def test_stop_time_agrees_with_the_target(tmp_path: Path) -> None:
    """The target, 500 frames deep, knows of each dump how long it was neither run nor runnable.

    What the tool tells begins with its request to stop, and a target that has no CPU then must get
    one first. So on a busy machine some dumps tell more than was felt, but none of them less.
    """
    path = tmp_path / "stops"
    path.write_bytes(bytes(24))
    ratios = []
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        program = [str(PROGRAMS / "stops.py"), str(path)]
        with NEWEST.spawn(program, stdin=subprocess.DEVNULL) as target:
            for _ in range(100):
                before_ns = stopped_ns(shared)
                dump = pystack.dump(target.pid)
                felt_ns = stopped_ns(shared) - before_ns
                assert len(dump.threads[0].frames) > 500
                assert dump.stop_ns is not None
                ratios.append(felt_ns / dump.stop_ns)
    assert 0.6 < statistics.quantiles(ratios, n=10)[-1] < 1.2, ratios


def stopped_ns(shared: mmap.mmap) -> int:
    """How long the target was stopped, in all its life."""
    shared[0] = shared[0] % 255 + 1
    wait_until(lambda: shared[16] == shared[0], "the target looks")
    (total_ns,) = struct.unpack("<q", shared[8:16])
    return int(total_ns)
