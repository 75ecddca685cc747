"""Every opening of a file by a name of the target, in the kernel's own log: with whose rights?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from security.attackers import ATTACKER_ID, attack, attacker_folder, needs_root
from tool_runs import TOOL, TOOL_FOLDER, TOOL_TIMEOUT_S

pytestmark = [pytest.mark.live, needs_root]

# Frames of functions that say they come from the files given, and one of its own file.
NAMES_FILES = """
import sys, time

def chain(names):
    if not names:
        print("ready", flush=True)
        time.sleep(1e6)
    namespace = {}
    exec(compile("def f(then, rest): then(rest)", names[0], "exec"), namespace)
    namespace["f"](chain, names[1:])

chain(sys.argv[1:])
"""
CALLS = "open,openat,openat2,creat,setfsuid"


def openings_as_root(log: str, folder: Path, names: list[str]) -> tuple[list[str], int]:
    """The openings of such names by a thread with root's rights, and how many there were by others."""
    as_root: list[str] = []
    others = 0
    users: dict[str, int] = {}
    for line in log.splitlines():
        call = re.match(r"(\d+) +(\w+)\((.*)\) += (-?\d+)", line)
        if call is None:
            continue
        thread, name, arguments, result = call.groups()
        if name == "setfsuid":
            # Returns the one before; -1 only asks.
            wanted = int(arguments)
            users[thread] = int(result) if wanted == -1 else wanted
        elif str(folder) in arguments or any(f'"{wanted}"' in arguments for wanted in names):
            if users.get(thread, 0) == ATTACKER_ID:
                others += 1
            else:
                as_root.append(line)
    return as_root, others


@pytest.mark.parametrize("options", [[], ["--native"]], ids=["plain", "native"])
def test_names_of_the_target_are_opened_with_its_rights(options: list[str], tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.fail("no strace: tools/setup --tests installs it")
    log = tmp_path / "calls"
    with attacker_folder() as folder:
        secret = folder / "secret.py"
        secret.write_text("password = 1\n")
        secret.chmod(0o600)
        names = [str(secret), "/etc/shadow", "/proc/kmsg", "own.py", "../../../etc/passwd"]
        with attack(folder, NAMES_FILES, *names) as process:
            done = subprocess.run(
                [
                    "strace",
                    "-f",
                    "-e",
                    f"trace={CALLS}",
                    "-o",
                    str(log),
                    *TOOL,
                    "dump",
                    *options,
                    str(process.pid),
                ],
                check=False,
                cwd=TOOL_FOLDER,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TOOL_TIMEOUT_S,
            )
        assert done.returncode == 0, done.stderr
        as_root, others = openings_as_root(log.read_text(), folder, names)
    assert as_root == []
    assert others >= 3  # Or nothing was tried.
    assert "password" not in done.stdout
