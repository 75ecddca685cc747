"""Looking at a process from outside, by /proc alone, and waiting with a limit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

# A healthy target needs a second at most; the machine may be busy with other things.
WAIT_TIMEOUT_S = 90.0

MACHINE = os.uname().machine
READ_SYSCALL = {"x86_64": "0", "aarch64": "63"}.get(MACHINE, "?")
FUTEX_SYSCALL = {"x86_64": "202", "aarch64": "98"}.get(MACHINE, "?")


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_TIMEOUT_S) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {what}")
        time.sleep(0.002)


def thread_ids(pid: int) -> list[int]:
    """The kernel's threads of a process; none once it has ended."""
    try:
        return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def system_call(pid: int, tid: int) -> list[str]:
    """What a thread blocks in: number, arguments, stack pointer, pc; or just "running"."""
    try:
        return Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return ["running"]


def is_reading(pid: int, tid: int, fd: int) -> bool:
    """Whether a thread blocks in a read of this descriptor."""
    words = system_call(pid, tid)
    return words[0] == READ_SYSCALL and int(words[1], 16) == fd


def run_state(pid: int, tid: int | None = None) -> str:
    """The letter of `/proc/PID/stat`: R, S, D, T (stopped), t (traced), Z; "" once it is gone."""
    task = f"/proc/{pid}" if tid is None else f"/proc/{pid}/task/{tid}"
    try:
        return Path(f"{task}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def run_and_wait_ns(pid: int, tid: int | None = None) -> tuple[int, int]:
    """How long a thread ran, and how long it waited for a CPU, since it began."""
    text = Path(f"/proc/{pid}/task/{tid or pid}/schedstat").read_text()
    run_ns, wait_ns, _ = map(int, text.split())
    return run_ns, wait_ns
