from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from pystack_profiler.dead_children import DeadChildren

BUSY = "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"


def test_the_time_is_what_the_process_itself_knows() -> None:
    children = DeadChildren(os.getpid())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(2):
        subprocess.run([sys.executable, "-S", "-c", BUSY], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert children.cpu_ns == 0
    children.look()
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent_s >= 0.4
    assert children.cpu_ns / 1e9 == pytest.approx(spent_s, abs=0.04)


def test_a_process_that_has_ended_keeps_what_was_seen_last() -> None:
    shell = subprocess.Popen(["sh", "-c", "read line"], stdin=subprocess.PIPE)
    children = DeadChildren(shell.pid)
    shell.communicate(b"end")
    children.look()
    assert children.cpu_ns == 0
