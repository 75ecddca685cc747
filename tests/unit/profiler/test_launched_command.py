from __future__ import annotations

import signal
import sys
import time

import pytest

from profiler_fakes import FakeSampler
from pystack.errors import NotPython, PermissionDenied, TargetExited
from pystack_profiler import launched_command as command_module
from pystack_profiler.launched_command import Command, open_started


def never() -> bool:
    return False


def python(code: str) -> Command:
    return Command([sys.executable, "-S", "-c", code])


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 15)", 143),
    ],
)
def test_the_exit_status_is_the_commands(code: str, status: int) -> None:
    command = python(code)
    assert command.wait() == status
    assert command.has_ended()


def test_whether_it_has_ended_can_be_asked_without_losing_its_status() -> None:
    command = python("raise SystemExit(5)")
    deadline = time.monotonic() + 20
    while not command.has_ended():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert command.has_ended()
    assert command.wait() == 5


def test_whether_it_ends_soon() -> None:
    command = python("import time; time.sleep(60)")
    assert not command.ends_within(0.01)
    command.forward(signal.SIGTERM)
    assert command.ends_within(20)
    assert command.has_ended()
    assert command.wait() == 143


def test_only_what_the_terminal_does_not_send_is_forwarded() -> None:
    command = python("import time; time.sleep(60)")
    command.forward(signal.SIGINT)
    assert not command.has_ended()
    command.forward(signal.SIGTERM)
    assert command.wait() == 143
    command.forward(signal.SIGTERM)


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        Command(["/no/such/program"])


def test_opening_is_tried_until_python_is_up() -> None:
    command = python("import time; time.sleep(60)")
    sampler = FakeSampler()
    failures = [NotPython("not yet"), TargetExited("in the middle of exec"), NotPython("not yet")]

    def open_sampler(pid: int) -> FakeSampler:
        assert pid == command.pid
        if failures:
            raise failures.pop()
        return sampler

    try:
        assert open_started(command, open_sampler, never) is sampler
    finally:
        command.forward(signal.SIGTERM)
        command.wait()


def test_a_command_that_ends_before_python_is_found() -> None:
    command = python("")

    def open_sampler(_: int) -> FakeSampler:
        raise NotPython("no interpreter")

    assert open_started(command, open_sampler, never) is None
    assert command.wait() == 0


def test_a_command_that_is_not_python_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "OPEN_WITHIN_S", 0.05)
    command = Command(["sleep", "60"])

    def open_sampler(_: int) -> FakeSampler:
        raise NotPython("no interpreter")

    try:
        with pytest.raises(NotPython):
            open_started(command, open_sampler, never)
    finally:
        command.forward(signal.SIGTERM)
        command.wait()


def test_missing_permission_is_said_at_once_and_a_stop_request_heard() -> None:
    command = Command(["sleep", "60"])
    calls = 0

    def open_sampler(_: int) -> FakeSampler:
        nonlocal calls
        calls += 1
        raise PermissionDenied("the kernel says no")

    try:
        with pytest.raises(PermissionDenied):
            open_started(command, open_sampler, never)
        assert calls == 1
        assert open_started(command, open_sampler, lambda: True) is None
        assert calls == 1
    finally:
        command.forward(signal.SIGTERM)
        command.wait()
