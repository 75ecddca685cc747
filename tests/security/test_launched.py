"""What starts pystack with a capability must not hand it on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = """
from pystack.launched import keep_capabilities_here
import subprocess, sys
def sets(text):
    return [line.split()[1].lstrip("0") for line in text.splitlines() if line.startswith("Cap")][:5]
def own():
    return open("/proc/self/status").read()
{call}
print(*[word or "0" for word in sets(own())])
child = subprocess.run(["cat", "/proc/self/status"], stdout=subprocess.PIPE, text=True).stdout
print(*[word or "0" for word in sets(child)])
"""
PTRACE = f"{1 << 19:x}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand out capabilities")
def test_programs_that_it_starts_have_no_capability() -> None:
    def run(call: str) -> list[list[str]]:
        """Inheritable, permitted, effective, bounding and ambient of it, and of a program that it starts."""
        sets = ("--inh-caps=-all,+sys_ptrace", "--ambient-caps=-all,+sys_ptrace")
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *sets)
        command = [*nobody, sys.executable, "-c", SHOW.format(call=call)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd="/")
        return [line.split() for line in done.stdout.splitlines()]

    before, child = run("pass")
    assert before[:3] == child[:3] == [PTRACE] * 3, "as the launcher starts it"
    own, child = run("keep_capabilities_here()")
    assert [own[0], own[1], own[2], own[4]] == ["0", PTRACE, PTRACE, "0"]
    assert [child[0], child[1], child[2], child[4]] == ["0"] * 4
