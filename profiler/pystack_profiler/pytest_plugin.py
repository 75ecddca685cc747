"""`pytest --pystack[=FILE]`: one recording of the whole session, and where the slowest tests spent their time."""

from __future__ import annotations

from pathlib import Path

import pytest

_DEFAULT_FILE = "pystack-pytest.html"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("pystack").addoption(
        "--pystack",
        nargs="?",
        const=_DEFAULT_FILE,
        metavar="FILE",
        help="Record where the tests spend their time, to FILE (the suffix says the format: .html, .pystack,"
        f" .json, ...). Default: {_DEFAULT_FILE}",
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--pystack")
    if path is None:
        return
    from .pytest_session import SessionRecording, WorkersNote  # slow to import, and seldom needed

    worker = getattr(config, "workerinput", None)  # of pytest-xdist
    if worker is not None:
        file = Path(path)
        path = str(file.with_name(f"{file.stem}-{worker['workerid']}{file.suffix}"))
    elif config.pluginmanager.hasplugin("dsession"):
        config.pluginmanager.register(WorkersNote(path), "pystack-workers")
        return
    config.pluginmanager.register(SessionRecording(path), "pystack-session")
