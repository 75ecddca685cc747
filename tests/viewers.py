"""The programs that read our files, which `tools/viewers.py` fetched. Where one is missing, a test skips, or fails
in CI."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

_TOOL = Path(__file__).parent.parent / "tools" / "viewers.py"


def _found(name: str, path: str) -> Path:
    folder: Path = runpy.run_path(str(_TOOL))["folder"](name)
    if not (folder / path).exists():
        missing(f"{name} is not in the test cache; run: python tools/viewers.py")
    return folder / path


def speedscope() -> Path:
    """The folder of `index.html` and the schema."""
    return _found("speedscope", "dist/release/index.html").parent


def profiler_cli() -> list[str]:
    """The command of the Firefox Profiler without a browser."""
    script = _found("profiler-cli", "dist/profiler-cli.js")
    return [str(_found("node", "bin/node")), str(script)]


def pprof() -> str:
    """Go's pprof."""
    return str(_found("pprof", "pprof"))


def callgrind_annotate() -> str:
    return str(_found("callgrind_annotate", "callgrind_annotate"))


def missing(reason: str) -> None:
    """A tool that this test needs is not here: CI must have it, a developer need not."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
