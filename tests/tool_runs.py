"""The tool under test, run as its users run it: `python -m pystack ...` in a process of its own."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# No run of the tests takes a tenth of it; the machine may be busy with other things.
TOOL_TIMEOUT_S = 60.0

TOOL = [sys.executable, "-m", "pystack"]
# Not the checkout: there `-m` would find the sources, which may be without the extension.
TOOL_FOLDER = tempfile.gettempdir()


def run_tool(
    *arguments: object, timeout_s: float = TOOL_TIMEOUT_S, **options: Any
) -> subprocess.CompletedProcess[str]:
    """One run of the command, whatever its exit status."""
    return subprocess.run(
        [*TOOL, *map(str, arguments)],
        check=False,
        cwd=TOOL_FOLDER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
        **options,
    )


def takes_samples(recorder: int) -> bool:
    """Whether a running `record` is past its first samples: its sampling thread has slept since."""
    for task in Path(f"/proc/{recorder}/task").iterdir():
        # Threads that read debug files come and go.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (task / "comm").read_text() == "pystack-sampler\n":
                status = (task / "status").read_text()
                return int(re.findall(r"^voluntary_ctxt_switches:\t(\d+)", status, re.M)[0]) > 3
    return False


def account_of(stderr: str) -> str:
    """The line with the samples of a recording, among the last ones that `record` prints."""
    (line,) = [line for line in stderr.splitlines() if " (requested " in line]
    return line


def dump_json(pid: int, *arguments: str, **options: Any) -> dict[str, Any]:
    """What `dump --json` says, which must work."""
    done = run_tool("dump", "--json", *arguments, pid, **options)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document
