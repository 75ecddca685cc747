"""A thread that runs code of several interpreters is one thread, with one stack."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import pystack
from interpreters import required
from marks import each_of
from targets import Interpreter, Target
from tool_runs import dump_json, run_tool

pytestmark = pytest.mark.live

# The thread that made the interpreter is not the one that runs it.
PROGRAM = '''
import sys, threading, time
try:
    import _interpreters as interpreters
    outer, inner = interpreters.create("legacy"), interpreters.create("legacy")
    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    outer, inner = interpreters.create(), interpreters.create()
    run = interpreters.run_string

INNER = """
def burn():
    print("ready", flush=True)
    while True:
        sum(range(1000))
burn()
"""
OUTER = """
import {module} as interpreters
def call():
    interpreters.{run}({inner}, {script!r})
call()
""".format(module=interpreters.__name__, run=run.__name__, inner=int(inner), script=INNER)

waiting = threading.Event()

def runner():
    waiting.wait()
    run(outer, OUTER)

threading.Thread(target=runner, name="runner", daemon=True).start()
def waits():
    waiting.set()
    time.sleep(1000)
waits()
'''
# The second if something was not seen in the first.
DUMPS, MOST_DUMPS = 100, 3000
# Of dumps that cannot be proved on a busy machine.
MAX_TORN_SHARE = 0.2
NESTED = ["runner", "<module>", "call", "<module>", "burn"]

with_interpreters = each_of(one for one in required() if one.version >= (3, 8))


def start(interpreter: Interpreter) -> Target:
    target = interpreter.spawn(["-c", PROGRAM], stdout=subprocess.PIPE)
    assert target.process.stdout is not None
    target.process.stdout.readline()
    return target


def functions(thread: dict[str, Any]) -> list[str]:
    return [frame["function"] for frame in thread["frames"] if frame["kind"] == "python"]


@with_interpreters
def test_a_dump_has_one_stack(interpreter: Interpreter) -> None:
    with start(interpreter) as target:
        for options in ([], ["--no-block"], ["--native"]):
            dump = dump_json(target.pid, *options)
            by_name = {thread["name"]: thread for thread in dump["threads"]}
            assert sorted(by_name) == ["MainThread", "runner"]
            assert functions(by_name["MainThread"])[-1] == "waits"
            runner = by_name["runner"]
            assert functions(runner)[-5:] == NESTED
            python = [frame for frame in runner["frames"] if frame["kind"] == "python"]
            own = runner["interpreter_id"]
            ids = [frame.get("interpreter_id", own) for frame in python]
            assert ids[-5:] == [0, own - 1, own - 1, own, own]
            assert set(ids[:-5]) <= {0}
            if not interpreter.free_threaded:
                assert runner["gil"] == "holds"
                assert by_name["MainThread"]["gil"] == "none"


# Which function of the outer interpreter runs and which of the inner one belong together.
ALTERNATING = """
import sys
try:
    import _interpreters as interpreters
    inner = interpreters.create("legacy")
    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    inner = interpreters.create()
    run = interpreters.run_string

def outer_a(): run(inner, "inner_a()")
def outer_b(): run(inner, "inner_b()")
run(inner, '''
def inner_a(): sum(range(3000))
def inner_b(): sum(range(3000))
''')
print(flush=True)
while True:
    outer_a()
    outer_b()
"""


@with_interpreters
def test_stacks_read_without_a_stop_belong_together(interpreter: Interpreter) -> None:
    legal = {("outer_a", "inner_a"), ("outer_b", "inner_b")}
    seen: Counter[tuple[str, ...]] = Counter()
    with interpreter.spawn(["-c", ALTERNATING], stdout=subprocess.PIPE) as target:
        assert target.process.stdout is not None
        target.process.stdout.readline()
        # From 3.13, most of the time goes into entering the inner interpreter, and leaving it.
        while seen.total() < MOST_DUMPS and (seen.total() < DUMPS or not legal <= seen.keys()):
            (thread,) = pystack.dump(target.pid, block=False).threads
            names = [frame.function for frame in thread.frames if isinstance(frame, pystack.Frame)]
            seen[tuple(name for name in names if name.startswith(("outer", "inner")))] += 1
    assert {names for names in seen if len(names) == 2} == legal, seen
    assert seen[()] <= MAX_TORN_SHARE * seen.total(), seen


RECORDINGS = [
    pytest.param(interpreter, options, id=f"{interpreter}-{' '.join(options)}")
    for interpreter in required()
    if interpreter.version >= (3, 8)
    for options in ([], ["--block"], ["--native"], ["--mode", "gil"])
    if not (interpreter.free_threaded and "gil" in options)
]


@pytest.mark.parametrize(("interpreter", "options"), RECORDINGS)
def test_a_recording_counts_the_time_once(
    interpreter: Interpreter, options: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "recorded"
    with start(interpreter) as target:
        command = ("record", "-f", "folded", "-r", 100, "-d", 2, "-o", out)
        done = run_tool(*command, *options, target.pid)
    assert done.returncode == 0, done.stderr
    assert "of 2 threads" in done.stderr
    times: Counter[str] = Counter()
    for row in out.read_text().splitlines():
        stack, _, weight = row.rpartition(" ")
        names = re.sub(r" \([^;]*\)", "", stack)
        kind = "other"
        if "burn" in names:
            kind = "nested"
            wanted = r"runner;.*<interpreter \d>;<module>;call;.*<interpreter \d>;<module>;burn"
            assert re.search(wanted, names), names
        elif "waits" in names:
            kind = "waits"
        times[kind] += int(weight)
    if "gil" in options:
        assert times["nested"] > 0.5 * times.total(), done.stderr
        assert times["waits"] < 0.2 * times.total()
    else:
        # Both threads were there all the time.
        assert 0.5 < times["nested"] / times["waits"] < 2
