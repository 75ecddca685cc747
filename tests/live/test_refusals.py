"""What cannot be read: each case with its exit status and a sentence that names it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counting_target import counting_target, status_field
from interpreters import required
from process_state import run_state, wait_until
from pystack import errors
from targets import target_environment
from tool_runs import TOOL_FOLDER, TOOL_TIMEOUT_S, dump_json, run_tool

pytestmark = pytest.mark.live

OLDEST, NEWEST = required()[0], required()[-1]
BLOCK = pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])


def failing_dump(pid: int, *arguments: str) -> tuple[int, str]:
    """Status and message of a dump that must not work: a sentence, not a traceback."""
    done = run_tool("dump", *arguments, pid)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("pystack: ")
    assert 1 <= len(done.stderr.splitlines()) <= 3, done.stderr
    if set(arguments) <= {"--no-block"}:
        assert doctor_says(pid, *arguments) == done.stderr
    return done.returncode, done.stderr


def doctor_says(pid: int, *arguments: str) -> str:
    """What `pystack doctor` says of such a dump, in the form of its message."""
    done = run_tool("doctor", "--json", pid)
    [process] = json.loads(done.stdout)["processes"]
    assert done.returncode == process["exit_code"]
    findings = {finding["subject"]: finding for finding in process["findings"]}
    finding = findings[" ".join(["dump", *arguments])]
    assert finding["level"] == "problem"
    fix = [] if finding["fix"] is None else [finding["fix"]]
    return "\n".join([f"pystack: {finding['text']}.", *fix, ""])


TRACER = """
import ctypes, os, sys
request, pid = int(sys.argv[1], 16), int(sys.argv[2])
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
if ptrace(request, pid, None, None):
    raise OSError(ctypes.get_errno(), "ptrace")
os.write(1, b"traced")
os.read(0, 1)
"""
SEIZE, ATTACH = "4206", "10"


@contextlib.contextmanager
def traced(pid: int, request: str) -> Iterator[int]:
    """Somebody else traces the process; yields the tracer's pid. It ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", TRACER, request, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as tracer:
        try:
            assert tracer.stdout is not None
            assert tracer.stdout.read(6) == b"traced"
            yield tracer.pid
        finally:
            tracer.kill()
            tracer.wait()


@pytest.mark.parametrize("request_number", [SEIZE, ATTACH], ids=["runs", "is stopped"])
def test_already_traced(request_number: str, tmp_path: Path) -> None:
    with counting_target(NEWEST, tmp_path) as target:
        with traced(target.pid, request_number) as tracer:
            status, message = failing_dump(target.pid)
            assert status == errors.PermissionDenied.exit_code == 4
            assert re.search(rf"\b{tracer}\b", message), message
            # Reading needs no tracing.
            dump = dump_json(target.pid, "--no-block")
            assert len(dump["threads"]) == 3
            assert status_field(target.pid, "TracerPid") == str(tracer)
        if request_number == ATTACH:
            # What the dead tracer did: its SIGSTOP is the target's now.
            os.kill(target.pid, signal.SIGCONT)
        target.assert_runs_on("after the tracer")


def test_no_such_process() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    for options in ([], ["--no-block"]):
        status, message = failing_dump(process.pid, *options)
        assert status == errors.NoSuchProcess.exit_code == 5
        assert str(process.pid) in message


def test_pid_that_cannot_be() -> None:
    assert failing_dump(2**31 - 1)[0] == 5
    assert failing_dump(2**40)[0] == 5
    for pid in (0, -1, "x"):
        assert run_tool("dump", "--", pid).returncode == 2


@BLOCK
def test_zombie(options: list[str]) -> None:
    with subprocess.Popen(["true"]) as process:
        wait_until(lambda: run_state(process.pid) == "Z", "the zombie")
        status, message = failing_dump(process.pid, *options)
    assert status == errors.UnsupportedTarget.exit_code
    assert "zombie" in message


def kernel_thread() -> int | None:
    """PF_KTHREAD in the flags of a process that we can see."""
    for pid in (2, *(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[6]) & 0x00200000:
                return pid
    return None


@BLOCK
def test_kernel_thread(options: list[str]) -> None:
    pid = kernel_thread()
    if pid is None:
        pytest.skip("no kernel thread is to be seen here")
    status, message = failing_dump(pid, *options)
    assert status == errors.NotPython.exit_code == 3
    assert "kernel thread" in message
    assert "ps -ef" in message


@BLOCK
@pytest.mark.parametrize("command", [["sleep", "60"], ["cat"]], ids=" ".join)
def test_not_python(command: list[str], options: list[str]) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            wait_until(lambda: run_state(process.pid) == "S", "the process")
            status, message = failing_dump(process.pid, *options)
            assert failing_dump(process.pid, "--exhaustive", *options)[0] == status
            assert run_state(process.pid) == "S"
        finally:
            process.kill()
    assert status == errors.NotPython.exit_code == 3
    assert "Python" in message


def test_native_stacks_of_what_is_not_python() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            wait_until(lambda: run_state(process.pid) == "S", "the process")
            done = run_tool("dump", "--json", "--native", process.pid)
            text = run_tool("dump", "--native", process.pid)
        finally:
            process.kill()
    assert done.returncode == text.returncode == errors.NotPython.exit_code
    document = json.loads(done.stdout)
    assert (document["interpreters"], document["version"]) == ([], "")
    assert "is not a Python process" in document["problems"][0]
    (thread,) = document["threads"]
    assert thread["frames"][-1]["function"].endswith("nanosleep")
    assert "no Python, sleep 60, 1 thread" in text.stdout


# An ELF file of 32 bits: header, one segment, and `mov eax, 29; int 0x80` (pause) for ever.
I386_CODE = bytes.fromhex("b81d000000cd80ebf7")
I386_PROGRAM = (
    b"\x7fELF\x01\x01\x01" + bytes(9)
    + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    + struct.pack("<IIIIIIII", 1, 0, 0x8048000, 0x8048000, 84 + 9, 84 + 9, 5, 4096)
    + I386_CODE
)  # fmt: skip


@BLOCK
def test_32_bit(options: list[str], tmp_path: Path) -> None:
    program = tmp_path / "pauses"
    program.write_bytes(I386_PROGRAM)
    program.chmod(0o755)
    try:
        process = subprocess.Popen([str(program)])
    except OSError as error:
        pytest.skip(f"this kernel runs no 32-bit programs: {error}")
    try:
        wait_until(lambda: run_state(process.pid) == "S", "the program in its pause")
        status, message = failing_dump(process.pid, *options)
    finally:
        process.kill()
        process.wait()
    assert status == errors.UnsupportedTarget.exit_code
    assert "32-bit" in message


# All modules are there before the rights go, because the installation may be in root's home.
AS_ANOTHER_USER = """
import importlib, os, pkgutil, sys
import pystack.__main__
import pystack._core
for package in (pystack, __import__("click")):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if "_winconsole" not in module.name:
            importlib.import_module(module.name)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.argv[0] = "pystack"
sys.exit(pystack.__main__.main())
"""


@BLOCK
def test_permission_denied(options: list[str], tmp_path: Path) -> None:
    """As another user. Who is not root may not read root's processes, of which there is one."""
    if os.geteuid() != 0:
        status, _ = failing_dump(1, *options)
        assert status == errors.PermissionDenied.exit_code == 4
        return
    with counting_target(OLDEST, tmp_path) as target:
        done = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER_USER, "dump", *options, str(target.pid)],
            check=False,
            cwd=TOOL_FOLDER,
            capture_output=True,
            encoding="utf-8",
            timeout=TOOL_TIMEOUT_S,
        )
        target.assert_runs_on("refused")
    assert done.returncode == errors.PermissionDenied.exit_code == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"\broot\b|\buid 0\b", done.stderr), done.stderr
    assert "65534" in done.stderr or "nobody" in done.stderr, done.stderr


def test_not_dumpable(tmp_path: Path) -> None:
    """A process that took its memory from the reach of its own user (prctl), as ssh-agent does."""
    program = tmp_path / "private.py"
    program.write_text(
        "import ctypes, os, time\n"
        "assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0\n"  # PR_SET_DUMPABLE
        "os.write(1, b'private')\n"
        "time.sleep(100)\n"
    )
    process: Any
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, env=target_environment()
    ) as process:
        try:
            assert process.stdout.read(7) == b"private"
            done = run_tool("dump", "--json", process.pid)
            # Root may; everybody else gets a refusal that is no riddle.
            if os.geteuid() == 0:
                assert done.returncode == 0, done.stderr
            else:
                assert done.returncode == 4
                assert "PR_SET_DUMPABLE" in done.stderr
        finally:
            process.kill()
