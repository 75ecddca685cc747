"""A shell that starts Python, which starts Python: what `dump` and `record` say of each."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystack import process_facts
from tool_runs import run_tool

pytestmark = pytest.mark.live

CHILD = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.01)"
TWO_SECONDS = "import time; time.sleep(2)"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[str]]:
    """With a child and a grandchild that run Python. The second command keeps the shell there."""
    command = f"{shlex.join([sys.executable, '-c', PARENT])}; true"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True) as shell:
        try:
            assert shell.stdout is not None
            assert shell.stdout.readline() == "ready\n"
            yield shell
        finally:
            for pid in [*process_facts.descendants(shell.pid)][::-1]:
                subprocess.run(["kill", "-9", str(pid)], check=False)
            shell.kill()


def test_the_hint_of_a_wrapper_names_grandchildren(shell: subprocess.Popen[str]) -> None:
    parent, child = process_facts.python_descendants(shell.pid)
    done = run_tool("dump", shell.pid)
    assert done.returncode == 3
    assert f"It has started Python processes: try {parent}, {child}." in done.stderr


def test_dump_of_a_family(shell: subprocess.Popen[str]) -> None:
    pythons = process_facts.python_descendants(shell.pid)
    done = run_tool("dump", "-s", "--json", shell.pid)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["pid"] for line in done.stdout.splitlines()] == pythons


def test_children_that_are_not_recorded_are_counted(
    shell: subprocess.Popen[str], tmp_path: Path
) -> None:
    parent = process_facts.python_descendants(shell.pid)[0]
    arguments = ("-d", "300ms", "-o", tmp_path / "out.json", parent)
    said = "1 child process runs Python, too: -s records it"
    assert said in run_tool("record", *arguments).stderr
    assert said not in run_tool("record", "-s", *arguments).stderr


def test_children_that_end_with_their_parent_are_counted(tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {TWO_SECONDS!r}])"
    done = run_tool("record", "-o", tmp_path / "out.json", "--", sys.executable, "-c", code)
    assert "1 child process runs Python, too: -s records it" in done.stderr


def test_a_program_in_the_path_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "out.folded"
    code = "import time; time.sleep(1); raise SystemExit(7)"
    done = run_tool("record", "-o", file, sys.executable, "-c", code)
    assert done.returncode == 7
    # What comes first may be the start of the interpreter.
    stacks = file.read_text().splitlines()
    assert any(stack.startswith("<module> (<string>)") for stack in stacks), stacks
