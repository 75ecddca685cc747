"""A program that starts more processes than anybody can record."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from security.attackers import attack, attacker_folder, needs_root
from tool_runs import run_tool

pytestmark = pytest.mark.live

CHILDREN = 300
DURATION_S = 1.0
# Far from what it needs, and from what 1,500 children took without a limit: 36 s.
MAX_S = 10.0

MULTIPLIES = f"""
import os, time
for _ in range({CHILDREN}):
    if os.fork() == 0:
        while True:
            time.sleep(0.1)
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""


@needs_root
def test_recording_a_crowd_of_processes(tmp_path: Path) -> None:
    with attacker_folder() as folder, attack(folder, MULTIPLIES) as process:
        try:
            done = run_tool(
                *("record", process.pid, "--subprocesses", "--max-processes", 20),
                *("-d", DURATION_S, "-o", tmp_path / "out.folded", "-f", "folded", "-v"),
                timeout_s=DURATION_S + MAX_S,
            )
        finally:
            for child in children_of(process.pid):
                os.kill(child, signal.SIGKILL)
    assert done.returncode == 0, done.stderr
    assert (
        f"Warning: {CHILDREN - 19} processes were not recorded (limit: --max-processes)"
        in done.stderr
    )


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]
