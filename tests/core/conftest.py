"""Cores are big, and pytest keeps the temporary folders of several runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_cores_left(tmp_path: Path) -> Iterator[None]:
    yield
    for pattern in ("core*", "gcore*"):
        for path in tmp_path.glob(pattern):
            path.unlink()
