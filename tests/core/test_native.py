"""Native stacks of cores: those of gdb on the same core, with the Python frames in their places."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from core_files import (
    core_json,
    gcore,
    kernel_core,
    limits,
    need_gdb,
    need_kernel_cores,
    script_target,
    search_options,
)
from gdb_stacks import gdb_stacks
from interpreters import required
from marks import each_interpreter
from native_scenes import EXPECTED, build_extension, scene_target, seen
from native_stacks import check_against_gdb, names, search_path
from targets import Interpreter
from tool_runs import run_tool

pytestmark = pytest.mark.live


def kinds(thread: Any) -> list[str]:
    return [frame["kind"] for frame in thread["frames"]]


@each_interpreter
@pytest.mark.parametrize("scene", ["extension", "threads"])
def test_the_stacks_of_gdb(interpreter: Interpreter, scene: str, tmp_path: Path) -> None:
    need_gdb()
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, scene, tmp_path, preexec_fn=limits) as target:
        # gdb leaves out the stacks of newer C libraries' threads.
        if interpreter.root is None:
            core = gcore(target.pid, tmp_path)
        else:
            core = kernel_core(target.pid, tmp_path, signal.SIGABRT)
    document = core_json(
        core, "--native-all", "--lib-search-path", search_path(interpreter, tmp_path)
    )
    stacks = gdb_stacks(interpreter, core, tmp_path)
    assert {thread["tid"] for thread in document["threads"]} == set(stacks)
    for thread in document["threads"]:
        assert "gap" not in kinds(thread)
        check_against_gdb(thread, stacks[thread["tid"]])
    if scene == "extension":
        assert seen(document["threads"][0]["frames"]) == EXPECTED


#: The handler raises the signal again, so the core's own cause does not have the address.
FAULT = """
import ctypes, faulthandler, os
faulthandler.enable(open(os.devnull, "w"))
def dies():
    ctypes.string_at(16)
dies()
"""


@each_interpreter
def test_the_signal_that_a_handler_was_called_for(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    with script_target(interpreter, FAULT, tmp_path) as target:
        core = kernel_core(target.pid, tmp_path)
    document = core_json(core, "--native", *search_options(interpreter))
    [thread] = document["threads"]
    assert "gap" not in kinds(thread)
    stack = names(thread)
    returns = stack.index("<signal handler called, last fault at address 0x10>")
    assert "dies" in stack[:returns]


#: A thread that Python does not know jumps to address 16.
NATIVE_THREAD = """
import ctypes, time
def starts():
    thread = ctypes.c_ulong()
    ctypes.CDLL(None).pthread_create(ctypes.byref(thread), None, ctypes.c_void_p(16), None)
    time.sleep(1000)
starts()
"""


def test_a_crash_in_a_thread_that_python_does_not_know(tmp_path: Path) -> None:
    need_kernel_cores()
    interpreter = next(one for one in required() if one.root is None and one.version >= (3, 8, 0))
    with script_target(interpreter, NATIVE_THREAD, tmp_path) as target:
        core = kernel_core(target.pid, tmp_path)
    plain = run_tool("core", core).stdout
    dead = core_json(core)["core"]["terminating_tid"]
    assert dead != target.pid
    assert (
        f"Received by thread {dead}, which is not a Python thread (--native shows it).\n" in plain
    )
    text = run_tool("core", "--native", core).stdout
    assert f"Thread {dead} " in text
    assert "[not a Python thread, received SIGSEGV]" in text
    assert "Received by thread" not in text
    stacks = {one["tid"]: names(one) for one in core_json(core, "--native")["threads"]}
    assert stacks.keys() == {target.pid, dead}
    assert stacks[dead][-1] == "0x10"


@each_interpreter
def test_a_crash_in_an_extension(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    need_gdb()
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, "crash", tmp_path, preexec_fn=limits) as target:
        assert target.process.stdin is not None
        target.process.stdin.write(b"x")
        target.process.stdin.flush()
        core = kernel_core(target.pid, tmp_path)
    document = core_json(core, "--native", "--lib-search-path", search_path(interpreter, tmp_path))
    [thread] = document["threads"]
    assert "gap" not in kinds(thread)
    wanted = ["crash", "builtins.sorted", "<lambda>", "before", "native_ext.crash"]
    assert [name for name in names(thread) if name in wanted] == wanted
    assert names(thread)[-1] == "ext::write_to_null"
    check_against_gdb(thread, gdb_stacks(interpreter, core, tmp_path)[thread["tid"]])
