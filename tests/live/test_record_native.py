"""Recordings with native frames."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

import pystack
from interpreters import required
from native_scenes import EXPECTED, build_extension, scene_target
from targets import Interpreter

pytestmark = pytest.mark.live

SAMPLES = 200
# In each call of the loop C calls Python, and Python C.
BUSY = """
import functools, re

def spin(count):
    return sum(i * i for i in range(count))

def key(item):
    return spin(40) + item

def add(left, right):
    return left + sorted(range(20), key=key)[0]

def generate():
    for _ in range(5):
        yield functools.reduce(add, range(3))

print("ready", flush=True)
while True:
    list(map(lambda item: item, generate()))
    re.sub("a", lambda match: str(spin(30)), "banana")
"""

each_interpreter = pytest.mark.parametrize(
    "interpreter", [pytest.param(one, id=one.name) for one in required()]
)


class Recorded:
    """All samples of a recording: each stack as the names of its frames, outermost first."""

    def __init__(self, pid: int, samples: int, native: pystack.Native) -> None:
        sampler = pystack.open_sampler(pid, rate_hz=200, native=native)
        strings: list[str] = []
        functions: list[int] = []
        parents: list[int] = []
        frames: list[int] = []
        seen: list[int] = []
        sampler.start()
        deadline = time.monotonic() + 60
        while (batch := sampler.next_batch(0.1)) is None or not batch.finished:
            if sampler.stats()["taken"] >= samples or time.monotonic() > deadline:
                sampler.stop()
            if batch is None:
                continue
            strings += batch.strings
            functions += batch.frame_function
            parents += batch.stack_parent
            frames += batch.stack_frame
            seen += batch.stack
        seen += batch.stack
        strings += batch.strings
        functions += batch.frame_function
        parents += batch.stack_parent
        frames += batch.stack_frame
        self.stats = sampler.stats()

        def names(stack: int) -> list[str]:
            found = []
            while stack:
                found.append(strings[functions[frames[stack]]])
                stack = parents[stack]
            return found[::-1]

        self.stacks = [names(stack) for stack in seen]


@each_interpreter
def test_every_sample_is_kept_and_merged(interpreter: Interpreter) -> None:
    with interpreter.spawn(["-c", BUSY], stdout=subprocess.PIPE) as target:
        assert target.process.stdout is not None
        target.process.stdout.readline()
        recorded = Recorded(target.pid, SAMPLES, pystack.Native())
    stats = recorded.stats
    assert stats["taken"] >= SAMPLES
    assert stats["vanished"] == 0
    # Stopped in the few instructions in which a frame is being linked: one in some thousand samples.
    assert stats["torn"] <= stats["taken"] // 50
    assert sum(stats["stops"]) == stats["ticks"]
    assert stats["partly_merged"] == 0
    whole = [stack for stack in recorded.stacks if "key" in stack and "spin" in stack]
    assert whole
    for stack in whole:
        wanted = ["generate", "_functools.reduce", "add", "builtins.sorted", "key", "spin"]
        assert [name for name in stack if name in wanted][: len(wanted)] == wanted


def test_a_blocked_stack_is_that_of_a_dump(tmp_path: Path) -> None:
    interpreter = required()[-1]
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, "extension", tmp_path) as target:
        recorded = Recorded(target.pid, 3, pystack.Native())
        last = Recorded(target.pid, 3, pystack.Native(last_only=True))
    names = {
        name.rpartition(".")[2] if "<locals>" in name else name for name in recorded.stacks[-1]
    }
    assert {name for name in EXPECTED if "::" in name or "native_ext" in name} <= names
    assert "native_ext.call_int" not in last.stacks[-1]
    assert last.stacks[-1][-1] in ("posix.read", "read")
