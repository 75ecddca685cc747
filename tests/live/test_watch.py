"""`dump --watch`: what has not moved is told from what is only met at the same place."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pystack
from interpreters import required
from process_state import wait_until
from targets import Interpreter, Target
from tool_runs import TOOL, TOOL_FOLDER, TOOL_TIMEOUT_S, dump_json, run_tool

pytestmark = pytest.mark.live

PROGRAM = str(Path(__file__).parent.parent / "programs" / "half_stuck.py")


@pytest.fixture(params=required(), ids=str)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    interpreter: Interpreter = request.param
    ready = tmp_path / "ready"
    with interpreter.spawn([PROGRAM, str(ready)], stdin=subprocess.PIPE) as target:
        wait_until(ready.exists, "the threads")
        wait_until(lambda: is_stuck(target.pid), "two threads that wait")
        yield target


def is_stuck(pid: int) -> bool:
    threads = pystack.dump(pid, block=False).threads
    waits = {thread.name: thread.waits_for and thread.waits_for.kind for thread in threads}
    return waits["blocked"] == "lock" and waits["MainThread"] == "pipe"


def unmoved(document: dict[str, Any]) -> dict[str, Any]:
    return {thread["name"]: thread["unmoved"] for thread in document["threads"]}


@pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])
def test_what_did_not_run_made_no_progress(target: Target, options: list[str]) -> None:
    document = dump_json(target.pid, "--rounds", "4", "--every", "100ms", *options)
    found = unmoved(document)
    assert document["watched"]["dumps"] == 4
    assert document["watched"]["span_ns"] >= 3 * 100e6
    # A stop wakes the threads, and that is not their work.
    for name in ("blocked", "MainThread"):
        assert found[name]["dumps"] == 4
        assert found[name]["cpu_ns"] == 0
    for name in ("restless", "busy"):
        # A busy machine may have had no CPU for it for a while.
        assert found[name] is None or found[name]["cpu_ns"] > 0 or found[name]["dumps"] < 4


def test_the_text_says_so(target: Target) -> None:
    done = run_tool("dump", "--watch", "200ms", target.pid)
    assert done.returncode == 0, done.stderr
    _, watched, *lines = done.stdout.splitlines()
    assert watched.startswith("Watched for ")
    assert " made no progress" in watched
    (blocked,) = [line for line in lines if '"blocked"' in line]
    assert "no progress in " in blocked


def test_interrupted_it_shows_what_is_known(tmp_path: Path) -> None:
    with required()[-1].spawn([PROGRAM, str(tmp_path / "ready")], stdin=subprocess.PIPE) as target:
        wait_until((tmp_path / "ready").exists, "the threads")
        command = [*TOOL, "dump", "--json", "-v", "--watch", "1h", "--rounds", "3", str(target.pid)]
        with subprocess.Popen(
            command, cwd=TOOL_FOLDER, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as tool:
            assert tool.stderr is not None
            assert "dump 1 of 3" in tool.stderr.readline()
            tool.send_signal(signal.SIGINT)
            output, _ = tool.communicate(timeout=TOOL_TIMEOUT_S)
    assert tool.returncode == 0
    assert json.loads(output)["watched"]["dumps"] == 2


def test_a_process_that_ends_meanwhile_is_an_error(tmp_path: Path) -> None:
    with required()[-1].spawn([PROGRAM, str(tmp_path / "ready")], stdin=subprocess.PIPE) as target:
        wait_until((tmp_path / "ready").exists, "the threads")
        command = [*TOOL, "dump", "-v", "--rounds", "3", "--every", "100ms", str(target.pid)]
        with subprocess.Popen(
            command, cwd=TOOL_FOLDER, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as tool:
            assert tool.stderr is not None
            assert "dump 1 of 3" in tool.stderr.readline()
            target.kill()
            _, errors = tool.communicate(timeout=TOOL_TIMEOUT_S)
    assert tool.returncode == 5, errors


@pytest.mark.parametrize(
    "options",
    [
        ["--every", "1s"],
        ["--watch", "1s", "--rounds", "3", "--every", "1s"],
        ["--rounds", "1"],
        ["--watch", "soon"],
    ],
)
def test_wrong_usage(options: list[str]) -> None:
    assert run_tool("dump", *options, 1).returncode == 2
