"""Targets that begin, end and change while they are read."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pystack
from counting_target import STOPPED_STATES
from process_state import run_state, thread_ids, wait_until
from pystack import errors
from targets import target_environment
from tool_runs import TOOL_TIMEOUT_S, account_of, run_tool

pytestmark = pytest.mark.live

BLOCK = pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])


@BLOCK
def test_target_that_goes_away(options: list[str]) -> None:
    """At any moment of its life, from before there is an interpreter to after there was one."""
    moments = random.Random(2)
    statuses = set()
    for _ in range(30):
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", ""],
            env=target_environment(),
        )
        time.sleep(moments.uniform(0, 0.02))
        done = run_tool("dump", *options, process.pid)
        process.wait(timeout=TOOL_TIMEOUT_S)
        assert "Traceback" not in done.stderr, done.stderr
        statuses.add(done.returncode)
    # A zombie is UnsupportedTarget; a process between fork and exec is not Python yet.
    assert statuses <= {0, 1, 3, 5}


@BLOCK
def test_targets_that_end_while_they_are_read(options: list[str]) -> None:
    """The tool is fast enough here to meet every phase of a process's life."""
    ended = 0
    for number in range(60):
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", f"import time; time.sleep({number % 10 / 500})"],
            env=target_environment(),
        )
        deadline = time.monotonic() + TOOL_TIMEOUT_S
        try:
            while process.poll() is None:
                with contextlib.suppress(errors.PystackError):
                    pystack.dump(process.pid, block=not options)
                assert time.monotonic() < deadline
            ended += process.returncode == 0
        finally:
            process.kill()
            process.wait()
    assert ended == 60, "none of them was hurt"


@BLOCK
def test_target_that_execs(options: list[str], tmp_path: Path) -> None:
    """Python becomes Python again and again, and something else in the end."""
    program = tmp_path / "execs.py"
    program.write_text(
        "import os, sys\n"
        "left = int(sys.argv[1])\n"
        "if left: os.execv(sys.executable, [sys.executable, '-S', sys.argv[0], str(left - 1)])\n"
        "os.execvp('sleep', ['sleep', '60'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", str(program), "30"], env=target_environment()
    ) as process:
        try:
            deadline = time.monotonic() + TOOL_TIMEOUT_S
            while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
                assert process.poll() is None
                assert time.monotonic() < deadline
                with contextlib.suppress(errors.PystackError):
                    pystack.dump(process.pid, block=not options)
            with pytest.raises(errors.NotPython):
                pystack.dump(process.pid, block=not options)
            wait_until(lambda: run_state(process.pid) == "S", "the sleep")
        finally:
            process.kill()


@BLOCK
def test_target_whose_main_thread_has_ended(options: list[str], tmp_path: Path) -> None:
    """Its files and its memory are empty, and it was said to have exited; the other threads live on."""
    program = tmp_path / "ends.py"
    program.write_text(
        "import ctypes, threading, time\n"
        "def waits(): time.sleep(1000)\n"
        "for _ in range(2): threading.Thread(target=waits).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)  # without the GIL, and only this thread\n"
    )
    with subprocess.Popen([sys.executable, str(program)], env=target_environment()) as process:
        try:
            wait_until(lambda: run_state(process.pid) == "Z", "the main thread ends")
            done = run_tool("dump", *options, process.pid)
            assert done.returncode == 0, done.stderr
            assert f'Thread {process.pid} "MainThread" [exited]' in done.stdout
            assert "def waits(): time.sleep(1000)" in done.stdout
            output = tmp_path / "out.folded"
            how = ["--native"] if not options else []
            done = run_tool("record", *how, "-d", "0.5", "-f", "folded", "-o", output, process.pid)
            assert done.returncode == 0, done.stderr
            assert "waits (ends.py)" in output.read_text()
            # The stack that the main thread has left behind.
            assert re.search(r"^<module> \(ends.py\)[ ;]", output.read_text(), re.MULTILINE)
            assert "none lost" in account_of(done.stderr)
        finally:
            process.kill()


def test_no_new_threads_are_missed(tmp_path: Path) -> None:
    """Threads that start and end while the target is being stopped."""
    program = tmp_path / "churn.py"
    program.write_text(
        "import threading\n"
        "while True:\n"
        "    threads = [threading.Thread(target=lambda: sum(range(100))) for _ in range(20)]\n"
        "    [thread.start() for thread in threads]\n"
        "    [thread.join() for thread in threads]\n"
    )
    with subprocess.Popen([sys.executable, str(program)], env=target_environment()) as process:
        try:
            wait_until(lambda: len(thread_ids(process.pid)) > 1, "threads")
            for block in (True, False):
                for _ in range(100):
                    dump = pystack.dump(process.pid, block=block)
                    main = [thread for thread in dump.threads if thread.is_main]
                    assert len(main) == 1
                    if block:
                        assert {one.stack_end for one in dump.threads} <= {"complete", "no_python"}
            assert process.poll() is None
            assert not STOPPED_STATES & {
                run_state(process.pid, tid) for tid in thread_ids(process.pid)
            }
        finally:
            process.kill()
