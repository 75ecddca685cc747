"""What holds for all tests: CI skips none, because what is skipped there is run by nobody."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

_IN_CI = os.environ.get("CI") == "true"


def pytest_configure() -> None:
    # A shell ignores these in what it starts in the background, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup does.
    # Some distributions set it for everybody. No test may use the network.
    os.environ.pop("DEBUGINFOD_URLS", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if _IN_CI and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr  # type: ignore[misc, str-unpack]
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {reason}"
