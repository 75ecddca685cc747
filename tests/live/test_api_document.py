"""The examples of docs/api.md run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_files import gcore, need_gdb

pytestmark = pytest.mark.live

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)

_TARGET = "def work(text):\n while True: sum(range(1000))\nprint(flush=True)\nwork('x')"


@pytest.fixture
def pid() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", _TARGET], stdout=subprocess.PIPE) as target:
        assert target.stdout is not None
        target.stdout.readline()
        yield target.pid
        target.kill()


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(number: int, pid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {"pid": pid}
    if re.search(r"\bcore\)", EXAMPLES[number]):
        need_gdb()
        values["core"] = gcore(pid, tmp_path)
    exec(compile(EXAMPLES[number], f"example {number}", "exec"), values)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 10
