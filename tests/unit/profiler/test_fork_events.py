from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from pystack_profiler import fork_events
from pystack_profiler.fork_events import ForkEvents

FOR_EVER_S = 10_000.0


def kernel_tells() -> bool:
    try:
        fork_events._listen().close()
    except OSError:
        return False
    return True


needs_kernel = pytest.mark.skipif(
    not kernel_tells(), reason="the kernel tells this user of no forks"
)


@needs_kernel
def test_a_fork_ends_the_wait() -> None:
    """Of one of the processes, and not of others, nor a new thread."""
    forking = "import os, threading; input(); os.waitpid(os.fork() or os._exit(0), 0); input()"
    threading_only = "import threading; input(); threading.Thread(target=int).start(); print(flush=True); input()"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for code in (forking, forking, threading_only)
    ]
    wanted, other, threads = programs
    events = ForkEvents()
    waiter = threading.Thread(
        target=events.wait, args=(FOR_EVER_S, {wanted.pid, threads.pid}), daemon=True
    )
    try:
        waiter.start()
        for program in (other, threads, wanted):
            assert program.stdin is not None
            assert program.stdout is not None
            assert waiter.is_alive()
            program.stdin.write("\n")
            if program is threads:
                program.stdout.readline()
        waiter.join(60)
        assert not waiter.is_alive()
    finally:
        events.close()
        for program in programs:
            program.kill()
            program.communicate()


@needs_kernel
def test_only_forks_of_processes_are_received() -> None:
    """As the filter in the kernel says."""
    source = fork_events._listen()
    try:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        while True:
            message = source.recv(fork_events._MESSAGE_BYTES)
            what, parent, pid, process = (
                int.from_bytes(message[at : at + 4], sys.byteorder)
                for at in (
                    fork_events._WHAT,
                    fork_events._PARENT_TGID,
                    fork_events._CHILD_PID,
                    fork_events._CHILD_TGID,
                )
            )
            assert (what, pid) == (fork_events._PROC_EVENT_FORK, process)
            if parent == os.getpid():
                assert pid == child
                break
    finally:
        source.close()


def test_without_permission_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError

    monkeypatch.setattr(fork_events, "_listen", refuse)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    ForkEvents().wait(5, {os.getpid()})
    assert len(slept) == 1
    assert 0 < slept[0] <= 5
