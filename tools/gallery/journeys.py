"""The programs, and how each is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).with_name("programs")

_SECONDS = ("-d", "8s")
_SERVED = str(PROGRAMS / "serve.py")


@dataclass(frozen=True)
class Journey:
    """`command` is for an interpreter that has the packages."""

    name: str
    cause: str  # what the first picture should show
    command: tuple[str, ...]
    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    #: The program prints the pid of the process to record, and runs until its input ends. Otherwise, the recording
    #: starts it and lasts as long.
    is_attached: bool = False


def _attached(
    name: str, cause: str, command: tuple[str, ...], *rest: str, packages: tuple[str, ...] = ()
) -> Journey:
    return Journey(name, cause, command, packages, (*_SECONDS, *rest), is_attached=True)


def _program(name: str) -> tuple[str, ...]:
    return (str(PROGRAMS / f"{name}.py"),)


JOURNEYS = (
    _attached(
        "fastapi",
        "time.sleep in the async handler `report`",
        (
            _SERVED,
            "-m",
            "uvicorn",
            "--app-dir",
            str(PROGRAMS),
            "--port",
            "{port}",
            "fastapi_app:app",
        ),
        packages=("fastapi", "uvicorn"),
    ),
    _attached(
        "gunicorn",
        "`slow_query` in the workers",
        (
            _SERVED,
            "-m",
            "gunicorn",
            "--workers",
            "4",
            "--chdir",
            str(PROGRAMS),
            "--bind",
            "127.0.0.1:{port}",
            "flask_app:app",
        ),
        "--subprocesses",
        packages=("flask", "gunicorn"),
    ),
    Journey("pool", "`simulate` in the workers", _program("pool"), options=("--subprocesses",)),
    Journey(
        "sklearn",
        "the fit of the forest, in Cython and OpenBLAS",
        _program("forest"),
        ("numpy", "scikit-learn"),
        ("--native",),
    ),
    _attached("tasks", "200 tasks wait for one semaphore", _program("stuck_tasks"), "--tasks"),
    _attached("deadlock", "two threads wait for each other's lock", _program("deadlock")),
    Journey(
        "pytest",
        "the slow test",
        ("-m", "pytest", "-q", "-p", "no:cacheprovider", *_program("test_orders")),
        ("pytest",),
    ),
    _attached(
        "jupyter",
        "the cell's `collatz`",
        _program("notebook"),
        packages=("ipykernel", "jupyter_client"),
    ),
    Journey("collector", "garbage collection", _program("collector")),
    Journey("pandas", "the costliest imports", ("-c", "import pandas"), ("pandas",)),
    _attached("convoy", "threads wait for the lock in `add`", _program("convoy")),
)
