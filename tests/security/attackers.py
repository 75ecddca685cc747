"""Processes of another, unprivileged user, who owns what they run and may be up to no good.

    with attacker_folder() as folder, attack(folder, SCRIPT, "argument") as process:
        run_tool("dump", process.pid)

They run the system's own Python, which every user may read; the one of the tests may lie in a
folder that is root's alone. All of it needs root, who is the one to be attacked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: User and group of the attacker. No account of that number has to exist.
ATTACKER_ID = 2001
PYTHON = Path("/usr/bin/python3")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be attacked by others")


@contextmanager
def attacker_folder() -> Iterator[Path]:
    """A folder of the attacker's that all may look into, below the sticky /tmp."""
    folder = Path(tempfile.mkdtemp(prefix="attacker-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        os.chown(folder, ATTACKER_ID, ATTACKER_ID)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def attack(
    folder: Path, script: str, *arguments: object, python: Path = PYTHON
) -> Iterator[subprocess.Popen[str]]:
    """Runs the script as the attacker, in the folder; it is there when "ready" was printed."""
    program = folder / "attack.py"
    program.write_text(script)
    process = subprocess.Popen(
        [str(python), str(program), *map(str, arguments)],
        cwd=folder,
        user=ATTACKER_ID,
        group=ATTACKER_ID,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the attacking program did not start"
        yield process
    finally:
        process.kill()
        process.communicate()
