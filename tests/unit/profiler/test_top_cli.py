"""The command `pystack top` without a terminal: text frames, statuses, and the command that it starts."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from click.testing import CliRunner, Result

from profiler_fakes import MS, BatchWriter, FakeBatch, FakeSampler, Frame
from pystack.errors import NotPython
from pystack_profiler import driver
from pystack_profiler.settings import Settings
from pystack_profiler.top.command_output import CommandOutput
from pystack_profiler.top_cli import top


def one_batch() -> FakeBatch:
    writer = BatchWriter()
    writer.sample(writer.thread(1, "main"), time.monotonic_ns() + MS, MS, [Frame("work")])
    return writer.batch()


class World:
    def __init__(self) -> None:
        self.opened: list[tuple[int, Settings]] = []
        self.sampler = FakeSampler([one_batch()], taken=1, elapsed_ns=MS)

    def open_sampler(self, pid: int, settings: Settings, _: object = None) -> FakeSampler:
        self.opened.append((pid, settings))
        return self.sampler


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(driver, "open_sampler", world.open_sampler)
    return world


def run(*arguments: str) -> Result:
    return CliRunner().invoke(top, arguments)


def test_one_frame_as_text(world: World) -> None:
    result = run("--once", "--every", "1ms", "4711", "-r", "50")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("(pid 4711, CPython 3.13.5)") == 1
    assert "100.0   100.0  work  app.py:1" in result.stdout
    assert "\x1b" not in result.stdout
    assert world.opened == [(4711, Settings(rate_hz=50))]
    assert world.sampler.stopped


def test_frames_until_the_process_exits(world: World) -> None:
    world.sampler = FakeSampler([one_batch(), one_batch()], ends="target_exited")
    result = run("--every", "1ms", "4711")
    assert result.exit_code == 0
    assert "the process has exited" in result.stdout.rpartition("(pid 4711")[2]
    assert world.opened[0][1] == Settings()


def test_a_failure_is_said_and_ends_with_status_1(world: World) -> None:
    world.sampler = FakeSampler([one_batch()], ends="failed")
    world.sampler.error = "it\x1b broke"
    result = run("--every", "1ms", "4711")
    assert result.exit_code == 1
    assert "reading failed: it\\x1b broke" in result.stdout
    assert result.stderr == "pystack: Warning: sampling ended early: it\\x1b broke\n"


def test_errors_and_wrong_usage_are_those_of_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run().exit_code == 2
    assert "top -- python app.py" in run("app.py").stderr
    assert "must be stopped" in run("4711", "--native", "--no-block").stderr

    def refuse(*_: object) -> FakeSampler:
        raise NotPython("it does not run Python")

    monkeypatch.setattr(driver, "open_sampler", refuse)
    assert isinstance(run("4711").exception, NotPython)


def test_the_status_of_a_command_is_that_of_top(world: World) -> None:
    code = "import time; time.sleep(0.2); raise SystemExit(7)"
    assert run("--every", "1ms", "--", sys.executable, "-c", code).exit_code == 7
    assert run("--", "/no/such/program").exit_code == 127


def test_a_signal_ends_it_well(world: World) -> None:
    class Signalling(FakeSampler):
        def next_batch(self, timeout_s: float) -> FakeBatch | None:
            batch = super().next_batch(timeout_s)
            if batch is None:
                signal.raise_signal(signal.SIGTERM)
            return batch

    world.sampler = Signalling([one_batch()], elapsed_ns=MS)
    result = run("4711", "--every", "1h")
    assert result.exit_code == 0
    assert "work  app.py:1" in result.stdout


def test_the_last_lines_of_a_command_are_printed_when_the_screen_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import os

    with CommandOutput(hidden=True) as output:
        assert output.descriptor is not None
        os.write(output.descriptor, b"".join(b"line %d \x1b[2J\n" % n for n in range(50)))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "pystack: the last lines that the command printed:"
    assert lines[1:] == [f"line {n} \\x1b[2J" for n in range(10, 50)]
    with CommandOutput(hidden=False) as output:
        assert output.descriptor is None
