"""The short form of the truth: one known stack, in every interpreter, read in every way."""

from __future__ import annotations

import subprocess
import time

import pytest

import pystack
from marks import each_interpreter
from targets import Interpreter

pytestmark = pytest.mark.live

TIMEOUT_S = 20

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
