"""Packages from PyPI for targets, which `tools/provision_interpreters.py` installs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interpreters import wheel_folder
from targets import Interpreter


def package_for(interpreter: Interpreter, package: str, folder: Path) -> Path:
    """For its `sys.path`, where the target sees it: one with a root of its own sees the test's folder."""
    kept = wheel_folder(package, interpreter.version[1])
    if not kept.exists():
        pytest.skip(f"no {kept} here (tools/provision_interpreters.py makes it)")
    if interpreter.root is None:
        return kept
    copied = folder / f"{package}-for-root"
    if not copied.exists():
        shutil.copytree(kept, copied)
    return copied
