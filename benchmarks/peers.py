"""The tools that the benchmarks compare with, each from PyPI in its own environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PACKAGES = {"pystack-peer": "pystack", "py-spy": "py-spy", "austin": "austin-dist"}
PROGRAMS = {"pystack-peer": "pystack", "py-spy": "py-spy", "austin": "austin"}


def cache_folder() -> Path:
    """The folder of the environments; set by the same variable as that of the test interpreters."""
    folder = os.environ.get("PYSTACK_TEST_CACHE")
    if folder:
        return Path(folder) / "peers"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "pystack-tests" / "peers"


def peer(name: str) -> Path:
    """The program of a peer, which is installed at first use."""
    folder = cache_folder() / name
    program = folder / "bin" / PROGRAMS[name]
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", PACKAGES[name]], check=True)
    return program


class Austin(NamedTuple):
    command: list[str]
    converter: Path  # from its binary format to lines of text


def austin() -> Austin:
    """The program from PyPI needs a newer libc than some systems have; then uses the libc of the test interpreters."""
    program = peer("austin")
    converter = program.parent / "mojo2austin"
    if not converter.exists():
        pip = [program.parent / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", "austin-python"], check=True)
    command = [str(program)]
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode != 0:
        root = cache_folder().parent / "sid"
        loader = root / "lib64/ld-linux-x86-64.so.2"
        command = [str(loader), "--library-path", str(root / "usr/lib/x86_64-linux-gnu"), *command]
    return Austin(command, converter)


def clean_environment() -> dict[str, str]:
    """The environment of the peers, without this project's packages: one has the same name as a peer's."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def own_command() -> list[str]:
    """The installed command, or the module if there is no command."""
    installed = Path(sys.executable).parent / "pystack"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "pystack"]


def own_environment() -> dict[str, str]:
    """The folder of this project's packages, compiled like those of an installation."""
    path = os.environ.get("PYTHONPATH")
    return {**clean_environment(), **({} if path is None else {"PYTHONPATH": path})}


def conditions() -> str:
    """The facts about the machine that are needed to judge the figures."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} CPUs, load {load}, {sys.version.split()[0]} runs the tools"
