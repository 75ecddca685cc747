"""A process with two libpythons: one is read, and the other is not passed over in silence."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import pystack
from core_files import core_json, kernel_core, limits, need_kernel_cores, search_options
from interpreters import required
from marks import each_of
from process_state import wait_until
from targets import Interpreter, Target
from tool_runs import dump_json, run_tool

pytestmark = pytest.mark.live

PROGRAM = '''
import ctypes, os, sys, threading
os.chdir(sys.argv[2])
second = ctypes.CDLL(sys.argv[1], os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)
def run():
    second.Py_InitializeEx(0)
    second.PyRun_SimpleString(b"""
import sys
print("%d.%d.%d" % sys.version_info[:3], flush=True)
while True: sum(range(1000))
""")
print("ready", flush=True)
input()  # The recorder may look before.
threading.Thread(target=run, daemon=True).start()
def waits():
    threading.Event().wait()
waits()
'''
LIBRARY = "/usr/lib/x86_64-linux-gnu/libpython3.13.so.1.0"

# The libraries of the root are there for its interpreters, and the second must be another version.
with_second = each_of(
    one
    for one in required()
    if one.root is not None and one.version >= (3, 14) and not one.debug and not one.jit
)


def start(interpreter: Interpreter, folder: Path) -> Target:
    target = interpreter.spawn(
        ["-c", PROGRAM, LIBRARY, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=limits,
    )
    assert target.process.stdout is not None
    assert target.process.stdout.readline() == b"ready\n"
    return target


def start_second(target: Target) -> str:
    """The version that the second interpreter says it is."""
    process = target.process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    version: bytes = process.stdout.readline()
    return version.decode().strip()


def sentence(version: str) -> str:
    return rf"the process also runs CPython {version} \(\S*/{Path(LIBRARY).name}\), whose threads"


@with_second
def test_a_dump_says_which_is_not_shown(interpreter: Interpreter, tmp_path: Path) -> None:
    with start(interpreter, tmp_path) as target:
        version = start_second(target)
        for options in ([], ["--no-block"]):
            dump = dump_json(target.pid, *options)
            assert dump["version"] == ".".join(map(str, interpreter.version))
            (problem,) = dump["problems"]
            assert re.match(sentence(version), problem)
        assert re.search(
            f"^Warning: {sentence(version)}", run_tool("dump", target.pid).stdout, re.M
        )


@with_second
def test_a_core_says_which_is_not_shown(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    with start(interpreter, tmp_path) as target:
        version = start_second(target)
        os.kill(target.pid, signal.SIGABRT)
        target.process.wait()
        dump = core_json(kernel_core(target.pid, tmp_path), *search_options(interpreter))
    assert any(re.match(sentence(version), problem) for problem in dump["problems"])


@with_second
def test_a_recording_says_what_is_not_recorded(interpreter: Interpreter, tmp_path: Path) -> None:
    with start(interpreter, tmp_path) as target:
        version = start_second(target)
        out = tmp_path / "out"
        done = run_tool("record", "-f", "folded", "-d", 1, "-o", out, target.pid)
    sentence = f"Warning: process {target.pid} also runs CPython {version}"
    assert sentence in done.stderr


@with_second
def test_a_recorder_sees_one_that_starts_later(interpreter: Interpreter, tmp_path: Path) -> None:
    with start(interpreter, tmp_path) as target:
        sampler = pystack.open_sampler(target.pid, rate_hz=100)
        sampler.start()
        try:
            while sampler.next_batch(10) is None:
                pass
            assert sampler.other_interpreters == []
            version = start_second(target)
            wait_until(lambda: len(sampler.other_interpreters) > 0, "the second interpreter")
            (other,) = sampler.other_interpreters
        finally:
            sampler.stop()
    assert re.fullmatch(rf"CPython {version} \(\S*/{Path(LIBRARY).name}\)", other)
