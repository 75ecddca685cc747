"""The small programs of tests/cpp that show what one unit of the C++ core makes of an input."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# tools/test builds them here.
_FOLDER = Path(
    os.environ.get("PYSTACK_CPP_TESTS", Path(__file__).resolve().parents[1] / "build" / "cpp-tests")
)


def run_lines(program: str, *arguments: object, lines: list[str]) -> list[str]:
    """The lines that the program prints, one for each of those that it reads."""
    path = _FOLDER / "tests" / "cpp" / program
    if not path.exists():
        pytest.skip(f"{program} is not built (tools/test does)")
    return _run([str(path), *map(str, arguments)], lines)


def run_other(command: list[str], lines: list[str]) -> list[str]:
    """The same of a program that ours is compared with."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (Debian: binutils)")
    return _run(command, lines)


def _run(command: list[str], lines: list[str]) -> list[str]:
    done = subprocess.run(
        command, input="".join(f"{line}\n" for line in lines), text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("\n")[:-1]
    assert len(printed) == len(lines)
    return printed
