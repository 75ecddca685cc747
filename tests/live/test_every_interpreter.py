"""The short form of the truth: one known stack, in every interpreter, read in every way."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

import pystack
from marks import each_interpreter
from targets import Interpreter
from tool_runs import run_tool

pytestmark = pytest.mark.live

TIMEOUT_S = 20

WITHOUT_THREADING = """
import sys, time
def only():
    time.sleep(60)
print("threading" in sys.modules, flush=True)
only()
"""

PROGRAM = """
import threading
def inner(gate):
    gate.wait()
class Outer:
    def method(self, gate):
        inner(gate)
def work():
    print("ready", flush=True)
    threading.Event().wait()
threading.Thread(target=work, name="w\\u00f6rk\\u20acr\\U0001f600", daemon=True).start()
Outer().method(threading.Event())
"""


@pytest.mark.parametrize("block", [True, False], ids=["stopped", "not stopped"])
@pytest.mark.parametrize("container", [False, True], ids=["plain", "container"])
@each_interpreter
def test_known_stack(interpreter: Interpreter, container: bool, block: bool) -> None:
    target = interpreter.spawn(["-c", PROGRAM], container=container, stdout=subprocess.PIPE)
    try:
        assert target.process.stdout is not None
        with target.process.stdout as output:
            output.readline()
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            snapshot = pystack.dump(target.pid, block=block)
            functions = [
                [frame.function for frame in thread.python_frames] for thread in snapshot.threads
            ]
            # Both are at rest where they stay.
            at_rest = [{"inner", "wait"}, {"work", "wait"}]
            if len(functions) == 2 and all(
                rest <= set(names) for rest, names in zip(at_rest, functions, strict=True)
            ):
                break
            assert time.monotonic() < deadline, functions
    finally:
        target.kill()
    assert snapshot.version == ".".join(str(part) for part in interpreter.version)
    main, worker = snapshot.threads
    assert (main.name, main.tid, main.is_main) == ("MainThread", target.pid, True)
    assert worker.name == "w\u00f6rk\u20acr\U0001f600"
    assert {thread.stack_end for thread in snapshot.threads} == {"complete"}
    lines = [(frame.function, frame.line) for frame in main.python_frames[:3]]
    assert lines == [("<module>", 12), ("method", 7), ("inner", 4)]
    assert "work" in functions[1]


@each_interpreter
def test_the_main_thread_has_its_name_without_threading(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    target = interpreter.spawn(["-S", "-c", WITHOUT_THREADING], stdout=subprocess.PIPE)
    try:
        assert target.process.stdout is not None
        with target.process.stdout as output:
            assert output.readline() == b"False\n"
        (main,) = pystack.dump(target.pid).threads
        assert (main.name, main.tid) == ("MainThread", target.pid)
        file = tmp_path / "out.json"
        assert run_tool("record", "-d", "300ms", "-o", file, target.pid).returncode == 0
    finally:
        target.kill()
    (thread,) = json.loads(file.read_text())["pystack"]["threads"]
    assert (thread["name"], thread["tid"]) == ("MainThread", target.pid)
