"""Cores of crashes, written by the kernel: the cause in words, the right thread, its stack."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core_files import (
    core_json,
    functions,
    kernel_core,
    need_kernel_cores,
    script_target,
    search_options,
)
from interpreters import available, required
from process_state import wait_until
from targets import Interpreter
from tool_runs import run_tool

pytestmark = pytest.mark.live

# A C extension that needs no header of any version, because it dies before it makes a module.
EXTENSION = """
struct object;

__attribute__((noinline)) static int sink(int value) {
    int *volatile nowhere = (int *)0x10;
    return *nowhere + value;
}

struct object *PyInit_crashes(void) {
    return (struct object *)(long)sink(1);
}

__attribute__((noinline, noclone)) static long grow(volatile char *above) {
    volatile char frame[2000];
    frame[0] = *above;
    return grow(frame) + frame[0];
}

struct object *PyInit_overflows(void) {
    volatile char first = 1;
    return (struct object *)grow(&first);
}
"""

# A thread that crashes by what `die` does, and two others.
SCRIPT = """
import sys, threading, time
sys.path.insert(0, os.getcwd())

def idle():
    time.sleep(1000)

def outer():
    inner()

def inner():
    try:
        raise LookupError("why it dies")
    except LookupError:
        die()

threading.Thread(target=idle, name="idle", daemon=True).start()
crasher = threading.Thread(target=outer, name="crasher")
"""
IN_A_THREAD = "crasher.start()\ncrasher.join()\n"
IN_THE_MAIN_THREAD = "outer()\n"


@pytest.fixture(scope="session")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extension")
    source, library = folder / "crashes.c", folder / "crashes.so"
    source.write_text(EXTENSION)
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or "gcc"]
    options = ["-O1", "-shared", "-fPIC", "-nostdlib", "-fno-stack-protector", "-w"]
    subprocess.run([*compiler, *options, "-o", str(library), str(source)], check=True)
    return library


def crash(
    interpreter: Interpreter, folder: Path, die: str, *, start: str = IN_A_THREAD
) -> dict[str, Any]:
    """What the core of a crash says, and that the tool tells of it in text, too."""
    need_kernel_cores()
    code = f"{SCRIPT}\ndef die():\n    {die}\n\n{start}"
    with script_target(interpreter, code, folder) as target:
        path = kernel_core(target.pid, folder)
    options = search_options(interpreter)
    document = core_json(path, *options)
    assert document["problems"] == []
    assert document["core"]["sender_pid"] in (None, document["pid"])
    assert document["core"]["uid"] == os.getuid()
    assert document["core"]["gid"] == os.getgid()
    assert document["core"]["ppid"] == os.getpid()
    assert document["pid"] == target.pid
    assert abs(document["core"]["written_ns"] - path.stat().st_mtime_ns) < 1000
    text = run_tool("core", path, *options).stdout
    assert f"Core {path} of process {target.pid}: CPython " in text
    assert f"Cause: {document['core']['cause']}\n" in text
    assert f"[received {document['core']['signal_name']}" in text.split("\n\n")[1]
    return document


def the_dead(document: dict[str, Any]) -> dict[str, Any]:
    dead: dict[str, Any]
    (dead,) = (
        one for one in document["threads"] if one["tid"] == document["core"]["terminating_tid"]
    )
    return dead


def assert_crasher(document: dict[str, Any], *innermost: str) -> None:
    """The thread that died is the one that crashed, in `inner`, which called what is innermost."""
    dead = the_dead(document)
    assert dead["name"] == "crasher"
    names = functions(dead)
    assert names[names.index("outer") :] == ["outer", "inner", *innermost]
    assert dead["stack_end"] == "complete"
    if not document["version"].startswith("3.6."):
        assert dead["handling"] == "LookupError"
    others = {thread["name"] for thread in document["threads"]}
    assert others == {"MainThread", "idle", "crasher"}


@pytest.mark.parametrize("interpreter", required(), ids=str)
def test_abort(interpreter: Interpreter, tmp_path: Path) -> None:
    document = crash(interpreter, tmp_path, "os.abort()")
    assert_crasher(document, "die")
    core = document["core"]
    assert core["cause"] == "SIGABRT: raised by the process itself (SI_TKILL)"
    assert (core["signal"], core["signal_code"]) == (signal.SIGABRT, "SI_TKILL")


@pytest.mark.parametrize("interpreter", required(), ids=str)
def test_segfault_in_an_extension(
    interpreter: Interpreter, tmp_path: Path, extension: Path
) -> None:
    shutil.copy(extension, tmp_path / "crashes.so")
    document = crash(interpreter, tmp_path, "import crashes")
    names = functions(the_dead(document))
    assert names[names.index("die") + 1] == "_find_and_load"
    assert the_dead(document)["name"] == "crasher"
    core = document["core"]
    assert core["cause"] == "SIGSEGV: address not mapped (SEGV_MAPERR) at 0x10"
    assert (core["signal_code"], core["fault_address"]) == ("SEGV_MAPERR", 0x10)
    assert not core["stack_overflow"]


@pytest.mark.parametrize("start", [IN_A_THREAD, IN_THE_MAIN_THREAD], ids=["thread", "main"])
@pytest.mark.parametrize("interpreter", required(), ids=str)
def test_stack_overflow(
    interpreter: Interpreter, start: str, tmp_path: Path, extension: Path
) -> None:
    shutil.copy(extension, tmp_path / "overflows.so")
    document = crash(interpreter, tmp_path, "import overflows", start=start)
    core = document["core"]
    assert core["stack_overflow"]
    assert core["signal_name"] == "SIGSEGV"
    assert core["cause"].endswith(", the end of the thread's stack: a stack overflow")
    dead = the_dead(document)
    assert dead["is_main"] == (start == IN_THE_MAIN_THREAD)
    names = functions(dead)
    assert names[names.index("outer") :][:4] == ["outer", "inner", "die", "_find_and_load"]


@pytest.mark.parametrize("interpreter", required(), ids=str)
def test_null_pointer_in_the_main_thread(interpreter: Interpreter, tmp_path: Path) -> None:
    document = crash(
        interpreter, tmp_path, "import ctypes; ctypes.string_at(0)", start=IN_THE_MAIN_THREAD
    )
    dead = the_dead(document)
    assert dead["is_main"]
    assert functions(dead) == ["<module>", "outer", "inner", "die", "string_at"]
    assert document["core"]["cause"] == "SIGSEGV: address not mapped (SEGV_MAPERR) at 0x0"


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGABRT], ids=["SIGQUIT", "SIGABRT"])
@pytest.mark.parametrize("interpreter", available()[-1:], ids=str)
def test_killed_by_somebody(
    interpreter: Interpreter, number: signal.Signals, tmp_path: Path
) -> None:
    need_kernel_cores()
    code = "import time\nopen('ready', 'w').close()\ntime.sleep(1000)\n"
    with script_target(interpreter, code, tmp_path, arguments=["--some", "x" * 5000]) as target:
        wait_until((tmp_path / "ready").exists, "the script is ready")
        document = core_json(
            kernel_core(target.pid, tmp_path, number), *search_options(interpreter)
        )
    core = document["core"]
    assert (core["sender_pid"], core["sender_uid"]) == (os.getpid(), os.getuid())
    assert core["cause"] == (
        f"{number.name}: sent by kill() (SI_USER) from pid {os.getpid()}, uid {os.getuid()}"
    )
    # All of them, from the stack; the core's note has the first 79 bytes.
    assert document["command"][-2:] == ["--some", "x" * 5000]
    assert not core["arguments_cut"]
