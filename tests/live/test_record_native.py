"""Recordings with native frames."""

from __future__ import annotations

import bisect
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pystack
from interpreters import required
from marks import each_interpreter, each_of
from native_scenes import EXPECTED, build_extension, scene_target
from process_state import run_and_wait_ns, thread_ids, wait_until
from pystack.sampling import FrameKind, NameSource
from pystack_profiler.counts import add_stats, no_stats
from sampled_stacks import Recorded
from targets import PROGRAMS, Interpreter
from tool_runs import run_tool

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats

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

# Each call makes a thread in C++, which ends after some milliseconds at most.
SHORT_THREADS = """
import sys
sys.path.insert(0, sys.argv[1])
import native_ext

def key(item):
    return sum(i * i for i in range(100))

def in_thread():
    for _ in range(5):
        sorted(range(10), key=key)

print("ready", flush=True)
while True:
    native_ext.call_in_thread(in_thread)
"""


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
    # A stack that was torn is stopped for again.
    assert stats["ticks"] <= sum(stats["stops"]) <= stats["ticks"] + stats["taken"] // 50
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


def functions_of(module: str) -> list[tuple[int, str]]:
    """Beginning and name, by rising address; without arguments of templates."""
    command = ["nm", "--demangle", "--defined-only", module]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return sorted(
        (int(address, 16), re.sub("<[^<>]*>", "", name))
        for address, kind, name in rows
        if kind in "tTwW"
    )


def test_native_frames_have_their_places_in_files(tmp_path: Path) -> None:
    interpreter = required()[-1]
    build_extension(interpreter, tmp_path)
    built = tmp_path / "native_ext.so"
    with scene_target(interpreter, "extension", tmp_path) as target:
        recorded = Recorded(target.pid, 3, pystack.Native())
    functions = functions_of(str(built))
    notes = subprocess.run(
        ["readelf", "--notes", built], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    ours = [frame for frame in recorded.frames[-1] if Path(frame.module).name == built.name]
    assert ours
    for frame in ours:
        assert f"Build ID: {frame.build_id}" in notes
        # The address is that of the next instruction, which may be behind the function.
        _, name = functions[bisect.bisect_left(functions, (frame.address,)) - 1]
        if frame.inline_depth == 0 and frame.name_source != NameSource.METHOD_TABLE:
            assert frame.function in name
    assert any(frame.inline_depth == 0 for frame in ours)
    assert all(frame.name_source != NameSource.NONE for frame in ours)
    python = [frame for frame in recorded.frames[-1] if frame.kind == FrameKind.PYTHON]
    assert python
    assert not any(frame.module or frame.build_id or frame.address for frame in python)


@each_interpreter
def test_threads_that_python_does_not_know(interpreter: Interpreter, tmp_path: Path) -> None:
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, "threads", tmp_path) as target:
        known = Recorded(target.pid, 20, pystack.Native())
        recorded = Recorded(target.pid, 20, pystack.Native(all_threads=True))
        tids = set(thread_ids(target.pid))
    assert {interpreter_id for _, interpreter_id in known.owners} == {0}
    assert {tid for tid, _ in recorded.owners} == tids
    unknown = tids - {tid for tid, _ in known.owners}
    assert {tid for tid, interpreter_id in recorded.owners if interpreter_id == -1} == unknown
    [worker] = unknown
    stacks = [
        stack
        for stack, (tid, _) in zip(recorded.stacks, recorded.owners, strict=True)
        if tid == worker
    ]
    assert stacks
    assert all("ext::wait_forever" in stack for stack in stacks)
    assert recorded.stats["partly_merged"] == 0
    assert recorded.stats["attempted"] == recorded.stats["taken"]


@each_interpreter
def test_threads_that_end_soon(interpreter: Interpreter, tmp_path: Path) -> None:
    build_extension(interpreter, tmp_path)
    with interpreter.spawn(["-c", SHORT_THREADS, str(tmp_path)], stdout=subprocess.PIPE) as target:
        assert target.process.stdout is not None
        target.process.stdout.readline()
        inside: list[list[str]] = []
        waiting: list[list[str]] = []
        # On a busy machine, a thread may be seen in another of its moments for long.
        for _ in range(10):
            if inside and waiting:
                break
            recorded = Recorded(target.pid, SAMPLES, pystack.Native())
            assert recorded.stats["partly_merged"] == 0
            # They go on while one after the other is stopped, so some have ended when it is their turn.
            stats = recorded.stats
            assert stats["attempted"] == stats["taken"] + stats["vanished"]
            inside += [stack for stack in recorded.stacks if "key" in stack]
            waiting += [stack for stack in recorded.stacks if "native_ext.call_in_thread" in stack]
    assert inside
    assert waiting
    wanted = ["in_thread", "builtins.sorted", "key"]
    for stack in inside:
        assert [name for name in stack if name in wanted] == wanted
    assert all(stack[0] == "<module>" for stack in waiting)


def test_the_command_shows_them(tmp_path: Path) -> None:
    interpreter = required()[-1]
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, "threads", tmp_path) as target:
        output = tmp_path / "out.json"
        done = run_tool("record", target.pid, "--native-all", "-d", "0.3", "-o", output)
        assert done.returncode == 0, done.stderr
    document = json.loads(output.read_text())
    assert [one["name"] for one in document["profiles"] if "(not a Python thread)" in one["name"]]
    assert "ext::wait_forever" in {one["name"] for one in document["shared"]["frames"]}


def test_a_stack_that_is_cut_says_so() -> None:
    interpreter = required()[-1]
    with interpreter.spawn(["-c", BUSY], stdout=subprocess.PIPE) as target:
        assert target.process.stdout is not None
        target.process.stdout.readline()
        recorded = Recorded(target.pid, 20, pystack.Native(sampled_stack_bytes=256))
    cut = [stack for stack in recorded.stacks if any("only part of" in name for name in stack)]
    assert len(cut) > 0.9 * len(recorded.stacks), recorded.stacks
    assert recorded.stats["partly_merged"] >= 0.9 * recorded.stats["taken"]


RELEASES = [one for one in required() if not (one.debug or one.jit or one.free_threaded)]
two_releases = each_of(dict.fromkeys([RELEASES[:3][-1], RELEASES[-1]]))


def run_times_in_a_recording(pid: int) -> tuple[dict[int, int], dict[int, int], SamplerStats]:
    """Of each thread, after 50 ticks and after 250."""

    def run_times() -> dict[int, int]:
        return {tid: run_and_wait_ns(pid, tid)[0] for tid in thread_ids(pid)}

    sampler = pystack.open_sampler(pid, rate_hz=200, native=pystack.Native())
    stats = no_stats()

    def ticks() -> int:
        while (batch := sampler.next_batch(0)) is not None:
            add_stats(stats, batch.stats)
        return stats["ticks"]

    sampler.start()
    wait_until(lambda: ticks() >= 50, "samples")
    before = run_times()
    wait_until(lambda: ticks() >= 250, "more samples")
    after = run_times()
    sampler.stop()
    ticks()
    return before, after, stats


@two_releases
def test_threads_that_sleep_are_left_alone(interpreter: Interpreter, tmp_path: Path) -> None:
    """To be stopped takes a thread some run time. The program has three that sleep: main, and two idle ones."""
    roles = tmp_path / "roles.json"
    program = [str(PROGRAMS / "gil_contended.py"), str(roles)]
    with interpreter.spawn(program, stdin=subprocess.PIPE) as target:
        wait_until(roles.exists, "the threads")
        before, after, stats = run_times_in_a_recording(target.pid)
    assert len(before) == 6
    left_alone = [tid for tid, run_ns in before.items() if after[tid] == run_ns]
    assert len(left_alone) == 3, (before, after)
    assert stats["taken"] == stats["attempted"] >= 6 * 250
    assert stats["partly_merged"] <= 0.005 * stats["taken"]


@two_releases
def test_threads_that_python_does_not_know_are_left_alone_too(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    """They were stopped for each sample, though nobody asked for their stacks."""
    build_extension(interpreter, tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import native_ext\n"
        "for _ in range(20): native_ext.start_worker()\n"
        "print('ready', flush=True)\n"
        "while True: pass"
    )
    with interpreter.spawn(["-c", program, str(tmp_path)], stdout=subprocess.PIPE) as target:
        assert target.process.stdout is not None
        target.process.stdout.readline()
        before, after, _ = run_times_in_a_recording(target.pid)
        workers = before.keys() - {target.pid}
        assert len(workers) == 20
        assert all(before[tid] == after[tid] for tid in workers)
        assert before[target.pid] < after[target.pid]
