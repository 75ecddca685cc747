"""A `Recorder` and `record` where they are used in unusual ways: in callbacks, by many threads, at the exit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

import pystack
from process_state import wait_until
from pystack.errors import InvalidArgument
from pystack_profiler import Progress, Recorder, Recording, record

pytestmark = pytest.mark.live


def left() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("pystack")]


def test_a_callback_may_stop_its_recorder() -> None:
    def stop(_: Progress) -> None:
        returned.append(running.stop())

    returned: list[Recording] = []
    running = Recorder(rate_hz=200, on_progress=stop)
    made = running.start()
    assert running.join(60)
    assert returned == [made]
    assert running.stop() is made
    assert made.end_reason == "stopped"


def test_a_callback_that_exits_ends_the_recording() -> None:
    def leave(progress: Progress) -> None:
        if progress.recording.sample_count:
            sys.exit(3)

    running = Recorder(rate_hz=200, on_progress=leave)
    made = running.start()
    assert running.join(60)
    assert made.end_reason == "failed"
    assert made.ended_ns
    assert made.error == "SystemExit: 3"
    with pytest.raises(SystemExit):
        running.stop()


def test_many_threads_start_one_recorder() -> None:
    def start() -> None:
        gate.wait()
        try:
            started.append(running.start())
        except InvalidArgument:
            refused.append(1)

    started: list[Recording] = []
    refused: list[int] = []
    gate = threading.Barrier(6)
    running = Recorder(rate_hz=200)
    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(started), len(refused)) == (1, 5)
    assert running.stop() is started[0]
    assert not left()


@pytest.mark.parametrize("subprocesses", [False, True])
def test_a_start_without_a_thread_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, subprocesses: bool
) -> None:
    def refuse(self: threading.Thread) -> None:
        if self.name == "pystack-recorder":
            raise RuntimeError("can't start new thread")
        real(self)

    real = threading.Thread.start
    before = threading.active_count()
    running = Recorder(rate_hz=200, subprocesses=subprocesses)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            running.start()
    assert threading.active_count() == before
    with pytest.raises(InvalidArgument, match="not started"):
        running.stop()
    made = running.start()
    wait_until(lambda: made.snapshot().sample_count > 0, "samples")
    running.stop()


@pytest.mark.parametrize("refused", ["_find", "_look_after_all"])
def test_an_interrupted_start_leaves_no_threads_that_find_processes(
    monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def interrupt(self: threading.Thread) -> None:
        real(self)
        if refused in self.name:
            raise KeyboardInterrupt

    real = threading.Thread.start
    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        record(os.getpid(), subprocesses=True)
    wait_until(lambda: threading.active_count() == before, "the end of the threads")


@pytest.mark.parametrize("rate_hz", [1e-7, 1e-300, 5e-324])
def test_a_rate_that_is_too_low_is_refused(rate_hz: float) -> None:
    with pytest.raises(InvalidArgument, match="rate"):
        record(os.getpid(), duration_s=0.1, rate_hz=rate_hz)


def test_the_lowest_rate_ends_in_time() -> None:
    begin_s = time.monotonic()
    assert record(os.getpid(), duration_s=0.1, rate_hz=1e-6).end_reason == "stopped"
    assert time.monotonic() - begin_s < 5


@pytest.mark.parametrize("options", ["", ", subprocesses=True"])
def test_a_program_can_exit_while_a_daemon_thread_records(options: str) -> None:
    """Before 3.14, a thread that takes the GIL during the exit is unwound."""
    script = (
        "import os, threading, time\n"
        "from pystack_profiler import record\n"
        f"work = lambda: record(os.getpid(), rate_hz=500{options})\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.5)\n"
        "print('done')\n"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"native": pystack.Native(sampled_stack_bytes=-1)},
        {"native": pystack.Native(all_threads="yes")},  # type: ignore[arg-type]
        {"locals": pystack.Locals(max_items=-1)},
        {"locals": pystack.Locals(max_depth=2**32)},
        {"locals": pystack.Locals(redact=(1,))},  # type: ignore[arg-type]
    ],
)
def test_options_out_of_range_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=r"^\w+ cannot be "):
        pystack.dump(1, **wrong)  # type: ignore[arg-type]


def test_few_windows_are_empty() -> None:
    windows: list[Recording] = []
    record(
        os.getpid(),
        rate_hz=200,
        duration_s=3,
        on_progress=lambda progress: windows.append(progress.recording.cut()),
    )
    empty = sum(not window.sample_count for window in windows)
    assert empty <= len(windows) / 4


@pytest.mark.parametrize("subprocesses", [False, True])
def test_the_child_of_a_fork_in_a_callback_ends_its_recording(subprocesses: bool) -> None:
    script = (
        "import os, sys\n"
        "from pystack_profiler import record\n"
        "children = []\n"
        "def fork(_):\n"
        "    children or children.append(os.fork())\n"
        f"made = record(os.getpid(), duration_s=1, on_progress=fork, subprocesses={subprocesses})\n"
        "assert made.end_reason == 'stopped', made.end_reason\n"
        "if children[0] == 0:\n"
        "    assert made.duration_ns < 0.9e9, made.duration_ns\n"
        "    sys.exit(0)\n"
        "assert os.waitpid(children[0], 0)[1] == 0\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_the_child_of_a_fork_can_look_at_what_was_recorded() -> None:
    """Also if the recorder's thread was storing samples when it was forked."""
    script = (
        "import os, time\n"
        "from pystack_profiler import Recorder, window\n"
        "append = window.Window.append\n"
        "def slowly(self, *arguments):\n"
        "    append(self, *arguments)\n"
        "    time.sleep(0.15)\n"
        "window.Window.append = slowly\n"
        "with Recorder(rate_hz=200) as made:\n"
        "    for number in range(5):\n"
        "        time.sleep(0.3 + number / 20)\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            os._exit(made.snapshot().sample_count == 0)\n"
        "        assert os.waitpid(child, 0)[1] == 0\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
