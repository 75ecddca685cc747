"""No target stays stopped, whatever happens to the tool; and what the tool takes from others."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from process_state import run_state, thread_ids, wait_until
from pystack import errors
from security.attackers import needs_root
from tool_runs import TOOL, TOOL_FOLDER, TOOL_TIMEOUT_S, run_tool

#: The bound is 100 ms; the machine may be busy with other things.
BOUND_S = 2.0

SPIN = "import os\nos.write(1, b'!')\nwhile True: pass"

TRACER = """
import ctypes, os, sys
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
assert ptrace(0x4206, int(sys.argv[1]), None, None) == 0  # PTRACE_SEIZE
os.write(1, b"!")
os.read(0, 1)
"""

#: Runs a command for which some system calls end in EPERM, as in a sandbox.
SECCOMP = """
import ctypes, os, struct, sys
numbers = [int(number) for number in sys.argv[1].split(",")]
program = struct.pack("HBBI", 0x20, 0, 0, 0)  # the number of the call
for index, number in enumerate(numbers):
    program += struct.pack("HBBI", 0x15, len(numbers) - index, 0, number)
program += struct.pack("HBBI", 6, 0, 0, 0x7FFF0000) + struct.pack("HBBI", 6, 0, 0, 0x50001)
buffer = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.create_string_buffer(filter), 0, 0) == 0  # PR_SET_SECCOMP
os.execvp(sys.argv[2], sys.argv[2:])
"""
PTRACE, PROCESS_VM_READV = 101, 310  # x86_64


@contextlib.contextmanager
def program(script: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the script, which has begun when it has written a byte."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"!"
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def recorder(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Records at 1 kHz, and is at it when this begins."""
    command = [*TOOL, "record", "-r", "1kHz", *map(str, arguments)]
    # SIGTSTP and SIGTTOU stop nobody in an orphaned process group, in which a test may run.
    process = subprocess.Popen(
        command, cwd=TOOL_FOLDER, stderr=subprocess.DEVNULL, preexec_fn=os.setpgrp
    )
    try:
        wait_for_stop(int(str(arguments[-1])))
        yield process
    finally:
        process.kill()
        process.wait()


def stops(pid: int) -> int:
    """How often a program that only computes has stood still: it never leaves its CPU by itself.

    Most stops are over before anyone could look.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def wait_for_stop(pid: int, timeout_s: float = 90.0) -> None:
    before = stops(pid)
    wait_until(lambda: stops(pid) > before, "the target is stopped", timeout_s)


def assert_runs(pid: int) -> None:
    begin_s = time.monotonic()
    wait_until(lambda: run_state(pid) != "t", "the target runs", BOUND_S)
    assert time.monotonic() - begin_s < BOUND_S


def go_on(pid: int) -> None:
    """A SIGCONT that arrives in the moment in which the watchdog lets the tool run is lost."""

    def runs() -> bool:
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
        return run_state(pid) != "T"

    wait_until(runs, "the tool goes on")


@pytest.mark.parametrize("mode", ["--native", "--block"])
def test_a_stopped_recorder_lets_its_target_run(mode: str, tmp_path: Path) -> None:
    """200 times altogether for each signal in the unit test of the watchdog; here the real tool."""
    moments = random.Random(mode)
    with (
        program(SPIN) as target,
        recorder(mode, "-o", tmp_path / "out.json", target.pid) as tool,
    ):
        for number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTOU) * 20:
            time.sleep(moments.uniform(0.001, 0.005))
            tool.send_signal(number)
            assert_runs(target.pid)
            # Continued by the watchdog it may be for a moment.
            wait_until(lambda: run_state(tool.pid) == "T", "stopped, as asked")
            assert_runs(target.pid)
            go_on(tool.pid)
        tool.send_signal(signal.SIGINT)

        def has_ended() -> bool:
            # The last one may have been lost, see go_on.
            tool.send_signal(signal.SIGCONT)
            return tool.poll() is not None

        wait_until(has_ended, "the end of the recording")
        assert tool.returncode == 0
    assert (tmp_path / "out.json").stat().st_size > 100


def test_ctrl_z_in_a_shell(tmp_path: Path) -> None:
    with program(SPIN) as target:
        shell, terminal = pty.fork()
        if shell == 0:
            os.execvp("bash", ["bash", "--norc", "-i"])
        try:
            out = tmp_path / "out.json"
            command = f"{' '.join(TOOL)} record --native -r 1kHz -o {out} {target.pid}\n"
            os.write(terminal, f"cd {TOOL_FOLDER}; {command}".encode())
            wait_for_stop(target.pid)
            (tool,) = (
                int(pid) for pid in Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
            )
            for _ in range(10):
                os.write(terminal, b"\x1a")
                wait_until(lambda: run_state(tool) == "T", "stopped by Ctrl-Z")
                assert_runs(target.pid)
                for _ in range(10):
                    os.write(terminal, b"fg\n")
                    with contextlib.suppress(TimeoutError):
                        wait_for_stop(target.pid, 2)
                        break
            os.write(terminal, b"\x03")
            wait_until(out.exists, "the file")
        finally:
            os.kill(shell, signal.SIGKILL)
            os.waitpid(shell, 0)
            os.close(terminal)


def test_a_debugger_on_the_tool(tmp_path: Path) -> None:
    """Where it met a stop, the tool is killed; where it did not, nothing stands still."""
    with program(SPIN) as target:
        for number in range(5):
            with recorder("--native", "-o", tmp_path / f"{number}.json", target.pid) as tool:
                held = [str(tid) for tid in thread_ids(tool.pid)]
                with program(HOLDER, *held):
                    assert_runs(target.pid)
                    time.sleep(0.01)
                    assert_runs(target.pid)
            assert_runs(target.pid)


HOLDER = """
import ctypes, os, sys
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for tid in sys.argv[1:]:
    if ptrace(0x4206, int(tid), None, None) == 0:  # PTRACE_SEIZE
        ptrace(0x4207, int(tid), None, None)  # PTRACE_INTERRUPT
os.write(1, b"!")
os.read(0, 1)
"""


def test_nobody_reads_standard_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    with program(SPIN) as target:
        out = tmp_path / "out.json"
        tool = subprocess.Popen(
            [
                *TOOL,
                "record",
                "--native",
                "-r",
                "1kHz",
                "-d",
                "0.5",
                "-v",
                "-o",
                out,
                str(target.pid),
            ],
            cwd=TOOL_FOLDER,
            stderr=writer,
        )
        try:
            wait_until(out.exists, "the file, after which it has something to say")
            assert_runs(target.pid)
            assert tool.poll() is None
        finally:
            tool.kill()
            tool.wait()
            os.close(reader)
            os.close(writer)


def test_two_recorders_of_one_process(tmp_path: Path) -> None:
    with program(SPIN) as target:
        tools = []
        for mode in ("--native", "--block"):
            options = [mode, "-r", "1kHz", "-d", "2", "-o", str(tmp_path / f"{mode}.json")]
            tools.append(
                subprocess.Popen(
                    [*TOOL, "record", *options, str(target.pid)],
                    cwd=TOOL_FOLDER,
                    stderr=subprocess.PIPE,
                )
            )
        for tool in tools:
            _, message = tool.communicate(timeout=TOOL_TIMEOUT_S)
            assert tool.returncode == 0, message
        assert_runs(target.pid)


EXECUTE = """
import os, sys, threading, time
def spin():
    while True: pass
def execute():
    time.sleep(0.2)
    os.execv(sys.executable, [sys.executable, "-c", SCRIPT, SCRIPT])
for _ in range(3): threading.Thread(target=spin, daemon=True).start()
threading.Thread(target=execute).start()
os.write(1, b"!")
spin()
"""


def test_a_thread_that_executes_a_program(tmp_path: Path) -> None:
    script = EXECUTE.replace("SCRIPT", "sys.argv[1]")
    with program(script, script) as target:
        done = run_tool(
            "record", "--block", "-r", "1kHz", "-d", "2", "-o", tmp_path / "out.json", target.pid
        )
        assert done.returncode == 0, done.stderr
        assert_runs(target.pid)


@pytest.mark.parametrize("mode", ["--native", "--block"])
def test_a_traced_process_is_refused_before_a_file_is_made(mode: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with program(SPIN) as target, program(TRACER, target.pid) as tracer:
        done = run_tool("record", mode, "-d", "1", "-o", out, target.pid)
    assert done.returncode == errors.PermissionDenied.exit_code == 4
    assert f"pid {tracer.pid}" in done.stderr
    assert not out.exists()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_refused_system_calls(tmp_path: Path) -> None:
    def sandboxed(calls: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SECCOMP, calls, *TOOL, *map(str, arguments)]
        return subprocess.run(
            command, check=False, cwd=TOOL_FOLDER, capture_output=True, text=True, timeout=60
        )

    with program(SPIN) as target:
        done = sandboxed(f"{PROCESS_VM_READV}", "dump", target.pid)
        assert done.returncode == 0, done.stderr
        assert "in <module>" in done.stdout
        for command in (["dump"], ["record", "--block", "-o", tmp_path / "out.json"]):
            done = sandboxed(f"{PROCESS_VM_READV},{PTRACE}", *command, target.pid)
            assert done.returncode == errors.PermissionDenied.exit_code == 4, done.stderr
            assert "seccomp" in done.stderr
    assert not (tmp_path / "out.json").exists()


@needs_root
@pytest.mark.parametrize(
    ("wrapper", "options", "added"),
    [
        ([], [], {0, -20}),
        ([], ["--no-priority"], {0}),
        (["nice", "-n", "5"], [], {5}),
        # Not --idle: while other tests run, such a tool would hardly get a CPU.
        (["chrt", "--batch", "0"], [], {0}),
    ],
    ids=["raised", "not raised", "nice", "chrt"],
)
def test_priority(wrapper: list[str], options: list[str], added: set[int], tmp_path: Path) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    if ours and not (wrapper or options):
        pytest.skip("the tests do not run with ordinary priority")
    expected = {ours + one for one in added}
    with program(SPIN) as target:
        command = [*TOOL, "record", "--block", "-r", "1kHz", "-o", str(tmp_path / "out.json")]
        tool = subprocess.Popen(
            [*wrapper, *command, *options, str(target.pid)],
            cwd=TOOL_FOLDER,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_stop(target.pid, 30)
            # The first stop is made before the sampling thread is.
            wait_until(lambda: len(thread_ids(tool.pid)) == 2, "the sampling thread", 30)
            wait_until(lambda: niceness(tool.pid) == expected, f"{expected}", 10)
            policies = {os.sched_getscheduler(tid) for tid in thread_ids(tool.pid)}
            if wrapper or options:
                assert os.SCHED_FIFO not in policies
        finally:
            tool.kill()
            tool.wait()


def niceness(pid: int) -> set[int]:
    return {os.getpriority(os.PRIO_PROCESS, tid) for tid in thread_ids(pid)}
