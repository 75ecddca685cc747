"""Targets that choose how much there is of them: no memory and no time without an end.

The bounds of time are far above what it takes, and far below what it took: a busy machine is slow.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pystack
from security.attackers import attack, attacker_folder, needs_root
from security.meter import MOST_MEMORY, measured

pytestmark = needs_root

_LONG_S = 30.0
#: A second by right.
_AT_ONCE_S = 5.0

#: Functions with names, tables and a depth of choice. `make` gives a copy of the code of `f`.
_MAKER = """
import sys, time
sys.setrecursionlimit(10**7)
def ready():
    print("ready", flush=True)
    time.sleep(1e6)
def f(call): call()
def make(**changed):
    return type(f)(f.__code__.replace(**changed), {})
def stack(functions):
    def go(i):
        if i == len(functions): ready()
        functions[i](lambda: go(i + 1))
    go(0)
"""

_SHARED_TABLE = (
    _MAKER
    + """
table = bytes([0x80]) * (16 << 20)
stack([make(co_linetable=table, co_name=f"f{i}") for i in range(300)])
"""
)

_LONG_NAMES = (
    _MAKER
    + """
name = "n" * 60_000
def down(n):
    if n == 0: ready()
    down(n - 1)
down.__code__ = down.__code__.replace(co_name=name, co_qualname=name, co_filename="/" + name)
down(10_000)
"""
)

#: argv: how many thread states, how deep. All of them are copies of the real one.
_FORGED_THREADS = (
    _MAKER
    + """
import ctypes
SIZE = 512
def forge(count):
    state_of = ctypes.pythonapi.PyThreadState_Get
    state_of.restype = ctypes.c_void_p
    state = state_of()
    raw = ctypes.string_at(state, SIZE)
    buffer = ctypes.create_string_buffer(count * SIZE)
    base = ctypes.addressof(buffer)
    last = ctypes.c_void_p.from_address(state + 8).value or 0
    for i in range(count):
        ctypes.memmove(base + i * SIZE, raw, SIZE)
        following = base + (i + 1) * SIZE if i + 1 < count else last
        ctypes.c_void_p.from_address(base + i * SIZE + 8).value = following
    ctypes.c_void_p.from_address(state + 8).value = base
    return buffer
def down(n):
    if n == 0:
        keep = forge(int(sys.argv[1]))
        ready()
    down(n - 1)
down(int(sys.argv[2]))
"""
)

#: Makes functions with new names as long as it lives.
_NEW_FUNCTIONS = (
    _MAKER
    + """
def busy():
    end = time.perf_counter() + 0.002
    while time.perf_counter() < end: pass
print("ready", flush=True)
i = 0
while True:
    make(co_name=f"f{i}", co_qualname=f"made.f{i}", co_filename=f"/tmp/made/{i}.py")(busy)
    i += 1
"""
)


@contextmanager
def attacked(script: str, *arguments: object) -> Iterator[int]:
    with attacker_folder() as folder, attack(folder, script, *arguments) as process:
        yield process.pid


def test_a_table_that_many_functions_share_is_read_once() -> None:
    with attacked(_SHARED_TABLE) as pid:
        run = measured("dump", "--json", pid)
    assert run.status == 0, run.stderr
    (thread,) = json.loads(run.stdout)["threads"]
    made = [frame for frame in thread["frames"] if frame["function"].startswith("f")]
    assert len(made) >= 300
    assert all(frame["line"] is not None for frame in made)
    assert run.peak_mib < MOST_MEMORY
    assert run.seconds < _LONG_S


@pytest.mark.parametrize("options", [(), ("--full",), ("--json",), ("--locals",)])
def test_names_of_sixty_thousand_characters(options: tuple[str, ...]) -> None:
    with attacked(_LONG_NAMES) as pid:
        run = measured("dump", *options, pid)
    assert run.status == 0, run.stderr
    assert "characters left out" in run.stdout
    assert run.peak_mib < MOST_MEMORY
    assert run.seconds < _LONG_S


@pytest.mark.parametrize(("count", "depth"), [(150_000, 10), (900, 50_000)])
def test_forged_thread_states(count: int, depth: int) -> None:
    with attacked(_FORGED_THREADS, count, depth) as pid:
        run = measured("dump", "--json", pid)
        moving = measured("dump", "--no-block", pid)
    assert run.status == moving.status == 0, run.stderr
    snapshot = json.loads(run.stdout)
    assert any("left out" in problem for problem in snapshot["problems"])
    assert snapshot["stop_ns"] < 2_000_000_000
    assert max(run.peak_mib, moving.peak_mib) < MOST_MEMORY
    assert max(run.seconds, moving.seconds) < _LONG_S


@pytest.mark.parametrize(
    "options", [("--full",), ("--json",), ("--locals", "--json"), ("--no-block",)]
)
def test_a_stack_of_half_a_million_frames(options: tuple[str, ...]) -> None:
    with attacked(_FORGED_THREADS, 1, 520_000) as pid:
        run = measured("dump", *options, pid)
    assert run.status == 0, run.stderr
    assert run.peak_mib < MOST_MEMORY
    # What frames have left is enough for the names of their functions.
    assert "<left out: memory limit>" not in run.stdout
    assert run.cpu_s < _LONG_S


def test_a_recording_of_ever_new_functions_says_what_it_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with attacked(_NEW_FUNCTIONS) as pid:
        run = measured("record", "-d", 3, "-r", 200, "--max-memory", "60K", "-o", out, pid)
    assert run.status == 0, run.stderr
    assert "memory limit reached, frames left out in" in run.stderr
    assert "<left out: memory limit>" in out.read_text()
    assert run.peak_mib < MOST_MEMORY


def test_a_limit_of_a_dump_is_said_in_its_place() -> None:
    with attacked(_LONG_NAMES) as pid:
        snapshot = pystack.dump(pid, max_memory=100_000)
    (thread,) = snapshot.threads
    assert thread.stack_end == "depth_limit"
    assert len(thread.frames) < 1000
    assert any("memory limit" in problem for problem in snapshot.problems)


_DUMP_WITH_LITTLE_MEMORY = """
import resource, sys
import pystack, pystack._core
from pystack import errors
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (96 << 20),) * 2)
try:
    pystack.dump(int(sys.argv[1]), max_memory=4 << 30)
except errors.OutOfMemory:
    print("told")
"""

_MANY_TABLES = (
    _MAKER
    + """
stack([make(co_linetable=bytes([0x80]) * ((8 << 20) + i)) for i in range(30)])
"""
)


def test_memory_that_the_system_refuses_is_an_error_of_ours() -> None:
    with attacked(_MANY_TABLES) as pid:
        run = subprocess.run(
            [sys.executable, "-c", _DUMP_WITH_LITTLE_MEMORY, str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (run.returncode, run.stdout) == (0, "told\n"), run.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["dump", "record"])
def test_signals_end_a_reading_at_once(
    command: str, number: signal.Signals, status: int, tmp_path: Path
) -> None:
    with attacked(_FORGED_THREADS, 900, 50_000) as pid:
        options = ["-o", str(tmp_path / "out.json")] if command == "record" else ["--no-block"]
        tool = subprocess.Popen(
            [sys.executable, "-m", "pystack", command, *options, str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not _reads(tool.pid, pid):
            assert tool.poll() is None
            time.sleep(0.01)
        begin = time.monotonic()
        tool.send_signal(number)
        tool.communicate(timeout=_LONG_S)
        assert time.monotonic() - begin < _AT_ONCE_S
    # A recording that has begun is finished.
    assert tool.returncode in ({status} if command == "dump" else {status, 0})


def _reads(tool: int, target: int) -> bool:
    """Whether the tool has begun to work: it has a thread for that."""
    return len(list(Path(f"/proc/{tool}/task").iterdir())) > 1
