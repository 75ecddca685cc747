"""Reads many damaged copies of a core, in a process of its own with limits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tool_runs import TOOL_FOLDER

WORKER = Path(__file__).parent / "core" / "read_damaged.py"
# A hundred readings take a second; this is for machines that are busy.
WORKER_TIMEOUT_S = 600.0


def read_damaged(core: Path, folder: Path, kind: str, count: int) -> list[dict[str, Any]]:
    """What came out of each reading; all have kept within their limits of time and memory."""
    done = subprocess.run(
        [sys.executable, WORKER, core, folder / "core.damaged", kind, "0", str(count)],
        cwd=TOOL_FOLDER,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=WORKER_TIMEOUT_S,
    )
    lines = done.stdout.splitlines()
    last = lines[-1].partition(" ")[0] if lines else "none"
    assert done.returncode == 0, f"{kind}, {last}: {done.returncode} {done.stderr[-2000:]}"
    assert len(lines) == count
    return [json.loads(line.partition(" ")[2]) for line in lines]
