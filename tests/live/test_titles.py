"""Processes that replace their command line by a title, as setproctitle does."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator

import pytest

from interpreters import required
from pystack_profiler import Progress, export_speedscope, record
from targets import Target
from tool_runs import dump_json, run_tool

pytestmark = pytest.mark.live

# The title is written over the arguments, and the rest of them with zeros.
PROGRAM = """
import ctypes, sys
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
begin, end = int(fields[45]), int(fields[46])
while True:
    title = sys.stdin.readline().strip().encode()
    if not title:
        break
    ctypes.memset(begin, 0, end - begin)
    ctypes.memmove(begin, title, len(title))
    print("done", flush=True)
"""


@pytest.fixture
def target() -> Iterator[Target]:
    target = required()[-1].spawn(
        ["-c", PROGRAM, "x" * 100], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield target
    finally:
        target.kill()
        for pipe in (target.process.stdin, target.process.stdout):
            assert pipe is not None
            pipe.close()


def give_title(target: Target, title: str) -> None:
    assert target.process.stdin is not None
    assert target.process.stdout is not None
    target.process.stdin.write(f"{title}\n".encode())
    target.process.stdin.flush()
    assert target.process.stdout.readline() == b"done\n"


def test_the_zeros_behind_a_title_are_no_arguments(target: Target) -> None:
    give_title(target, "shop: a/b/c 24177")
    assert dump_json(target.pid)["command"] == ["shop: a/b/c 24177"]
    (head, *_) = run_tool("dump", target.pid).stdout.splitlines()
    assert ", 'shop: a/b/c 24177', 1 thread" in head


def test_the_last_title_names_the_process(target: Target) -> None:
    give_title(target, "a/b/c first")
    has_last_title = False

    def change_title(progress: Progress) -> None:
        nonlocal has_last_title
        if progress.stats["taken"] and not has_last_title:
            give_title(target, "a/b/c last")
            has_last_title = True

    recording = record(
        target.pid,
        subprocesses=True,
        on_progress=change_title,
        stop_requested=lambda: has_last_title,
    )
    stream = io.StringIO()
    export_speedscope(recording, stream)
    document = json.loads(stream.getvalue())
    assert [profile["name"] for profile in document["profiles"]] == [
        f"MainThread {target.pid} · a/b/c last {target.pid}"
    ]
    assert document["pystack"]["target"]["command"] == ["a/b/c last"]
