"""Recordings of very deep stacks, of a running target."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from interpreters import required
from marks import each_of
from targets import Interpreter
from tool_runs import account_of, run_tool

pytestmark = pytest.mark.live

#: The innermost frames change all the time, the others never.
DEEP = """
import sys, threading
sys.setrecursionlimit(10**6)
threading.stack_size(1 << 30)
def leaf(x): return x + 1
def work(x):
    for _ in range(5): x = leaf(x)
def down(n):
    if n:
        return down(n - 1)
    print("ready", flush=True)
    while True: work(1)
thread = threading.Thread(target=down, args=(int(sys.argv[1]),), daemon=True)
thread.start()
thread.join()
"""

RELEASES = [one for one in required() if not (one.debug or one.jit or one.free_threaded)]


@each_of(RELEASES)
def test_all_depths_are_sampled(interpreter: Interpreter, tmp_path: Path) -> None:
    """None was taken from 9,000 frames on (3,000 below 3.11): reading them took too long for a proof."""
    depth = 30_000 if interpreter.version >= (3, 11) else 5_000
    path = tmp_path / "out.folded"
    with interpreter.spawn(["-c", DEEP, str(depth)], stdout=subprocess.PIPE) as target:
        assert target.process.stdout is not None
        assert target.process.stdout.readline() == b"ready\n"
        arguments = ("-r", "50", "-d", "2", "-f", "folded", "-o", path, target.pid)
        done = run_tool("record", *arguments)
    assert done.returncode == 0, done.stderr
    account = account_of(done.stderr)
    stacks = [line.rpartition(" ")[0].split(";") for line in path.read_text().splitlines()]
    deep = [stack for stack in stacks if any(frame.startswith("down ") for frame in stack)]
    assert deep
    for stack in deep:
        assert sum(frame.startswith("down ") for frame in stack) == depth + 1
    samples = re.search(r"([\d,]+) samples", account)
    assert samples is not None
    assert int(samples[1].replace(",", "")) > 20, account


#: The whole stack is built and left again all the time, by a thread that no other thread may take
#: the CPU from: it cannot be read without stopping it.
REBUILT = """
import os, sys, threading
sys.setrecursionlimit(10**6)
threading.stack_size(1 << 30)
def down(n):
    if n: down(n - 1)
def rebuild():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    print("ready", flush=True)
    while True: down(40_000)
threading.Thread(target=rebuild, daemon=True).start()
threading.Event().wait()
"""

RELEASE_3_11 = [one for one in RELEASES if one.version[:2] == (3, 11)][:1]


@each_of(RELEASE_3_11)
def test_a_thread_that_cannot_be_read_is_stopped_for_its_samples(interpreter: Interpreter) -> None:
    with interpreter.spawn(["-c", REBUILT], stdout=subprocess.PIPE) as target:
        assert target.process.stdout is not None
        assert target.process.stdout.readline() == b"ready\n"
        by_default, never = (
            run_tool(
                "record", "-r", "50", "-d", "2", *option, "-f", "folded", "-o", "-", target.pid
            )
            for option in ([], ["--no-block"])
        )
    assert by_default.returncode == never.returncode == 0
    assert re.search(r"for \d+ samples? whose stacks changed too fast", by_default.stderr)
    assert ";rebuild " in by_default.stdout
    assert "pauses" not in never.stderr
    assert "torn" in account_of(never.stderr)
