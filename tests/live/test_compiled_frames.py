"""Frames that compiled code has made, as Nuitka's: their lines, and that they tear no stack."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core_files import SMALL, core_json, kernel_core, limits, need_kernel_cores, search_options
from marks import each_interpreter
from native_scenes import compile_extension, header_folder
from process_state import wait_until
from targets import PROGRAMS, Interpreter, Target
from tool_runs import dump_json, run_tool

pytestmark = pytest.mark.live

Stack = list[list[Any]]


@contextlib.contextmanager
def compiled_target(
    interpreter: Interpreter, mode: str, folder: Path
) -> Iterator[tuple[Target, dict[str, Stack]]]:
    """The program, and its own account of its threads' stacks, by their idents."""
    internal = header_folder(interpreter) / "internal"
    compile_extension(interpreter, "compiled_frames.c", folder, "gcc", f"-I{internal}")
    with interpreter.spawn(
        [str(PROGRAMS / "compiled.py"), str(folder), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=SMALL,
        preexec_fn=limits,
    ) as target:
        assert target.process.stdout is not None
        told = json.loads(target.process.stdout.readline())
        yield target, told


def readers(pid: int) -> int:
    """How many threads wait for standard input."""
    calls = Path(f"/proc/{pid}/task").glob("*/syscall")
    return sum(call.read_text().startswith("0 0x0 ") for call in calls)


def python_stack(thread: dict[str, Any]) -> Stack:
    return [
        [frame["function"], frame["line"]]
        for frame in thread["frames"]
        if frame["kind"] == "python"
    ]


def check_stacks(dump: dict[str, Any], told: dict[str, Stack]) -> None:
    found = {str(thread["python_thread_id"]): thread for thread in dump["threads"]}
    assert len(told) == 3
    for ident, stack in told.items():
        assert found[ident]["stack_end"] == "complete", found[ident]["stack_problem"]
        assert python_stack(found[ident]) == stack
    (main,) = [thread for thread in dump["threads"] if thread["is_main"]]
    assert python_stack(main)[-1] == ["compiled_outer", 113]


@each_interpreter
def test_compiled_frames_have_their_lines(interpreter: Interpreter, tmp_path: Path) -> None:
    with compiled_target(interpreter, "blocked", tmp_path) as (target, told):
        wait_until(lambda: readers(target.pid) == 4, "all threads read")
        for options in ([], ["--no-block"], ["--native"]):
            check_stacks(dump_json(target.pid, *options), told)


@each_interpreter
def test_the_variables_of_compiled_frames_are_unknown(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    said = "compiled: variables are not in the frame"
    with compiled_target(interpreter, "blocked", tmp_path) as (target, _):
        wait_until(lambda: readers(target.pid) == 4, "all threads read")
        dump = dump_json(target.pid, "--locals")
        text = run_tool("dump", "--locals", target.pid).stdout
    frames = [frame for thread in dump["threads"] for frame in thread["frames"]]
    compiled = [frame for frame in frames if frame["function"].startswith("compiled_")]
    assert len(compiled) == 7
    for frame in frames:
        if frame in compiled:
            assert (frame["variables"], frame["variables_problem"]) == ([], said)
        else:
            assert frame["variables_problem"] is None
    assert text.count(f"[{said}]") == len(compiled)


@each_interpreter
def test_a_core_has_the_lines_of_compiled_frames(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    with compiled_target(interpreter, "blocked", tmp_path) as (target, told):
        wait_until(lambda: readers(target.pid) == 4, "all threads read")
        core = kernel_core(target.pid, tmp_path, signal.SIGABRT)
    check_stacks(core_json(core, *search_options(interpreter)), told)


@each_interpreter
@pytest.mark.parametrize("options", [[], ["--block"], ["--native"]], ids=str)
def test_recordings_have_the_lines_of_compiled_frames(
    interpreter: Interpreter, options: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "recorded"
    with compiled_target(interpreter, "spinning", tmp_path) as (target, _):
        command = ("record", "-f", "folded", "--lines", "-r", 200, "-d", 3, "-o", out)
        done = run_tool(*command, *options, target.pid)
    assert done.returncode == 0, done.stderr
    lines: Counter[int] = Counter()
    for row in out.read_text().splitlines():
        stack, _, weight = row.rpartition(" ")
        if "<not sampled>" in stack:  # A busy machine may have had no CPU for the recorder.
            continue
        found = re.search(r"<module> .*;compiled_outer \(compiled.py:(\d+)\);.*work \(", stack)
        lines[int(found[1]) if found else 0] += int(weight)
    # Microseconds, of three seconds; the rest: between two calls.
    assert lines.total() > 1_000_000, done.stderr
    assert lines[111] + lines[222] > 0.8 * lines.total(), done.stderr
    assert 0.1 < lines[111] / (lines[111] + lines[222]) < 0.4
