"""Processes that replace their command line by a title, as setproctitle does."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interpreters import required
from targets import Target
from tool_runs import TOOL, TOOL_FOLDER, TOOL_TIMEOUT_S, dump_json, run_tool

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


def test_the_last_title_names_the_process(target: Target, tmp_path: Path) -> None:
    give_title(target, "a/b/c first")
    path = tmp_path / "out.json"
    with subprocess.Popen(
        [*TOOL, "record", "-s", "-o", str(path), str(target.pid)],
        cwd=TOOL_FOLDER,
        stderr=subprocess.PIPE,
        text=True,
    ) as recorder:
        assert recorder.stderr is not None
        assert "Ctrl-C or SIGINT to finish" in recorder.stderr.readline()
        give_title(target, "a/b/c last")
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=TOOL_TIMEOUT_S)
        assert recorder.returncode == 0
    document = json.loads(path.read_text())
    assert [profile["name"] for profile in document["profiles"]] == [
        f"MainThread {target.pid} · a/b/c last {target.pid}"
    ]
    assert document["pystack"]["target"]["command"] == ["a/b/c last"]
