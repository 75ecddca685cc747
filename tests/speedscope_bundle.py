"""Where the speedscope viewer is that `tools/speedscope_bundle.py` fetched."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

_TOOL = Path(__file__).parent.parent / "tools" / "speedscope_bundle.py"


def release() -> Path:
    """The folder of `index.html` and the schema; where it is missing, skips, or fails in CI."""
    package: Path = runpy.run_path(str(_TOOL))["folder"]()
    folder = package / "dist" / "release"
    if not (folder / "index.html").exists():
        missing("speedscope is not in the test cache; run: python tools/speedscope_bundle.py")
    return folder


def missing(reason: str) -> None:
    """A tool that this test needs is not here: CI must have it, a developer need not."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
