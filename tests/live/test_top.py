"""`pystack top` on a real interpreter: what it says is true, and the terminal is as before after each way to end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interpreters import required
from marks import each_of
from process_state import run_state, thread_ids, wait_until
from targets import PROGRAMS, Interpreter, Target
from tool_runs import TOOL, TOOL_FOLDER, run_tool

pytestmark = pytest.mark.live

# What the sampler does with each version is tested elsewhere.
_WITH_GIL = [
    one
    for one in required()
    if not (one.debug or one.jit or one.free_threaded) and one.version >= (3, 8)
]
each = each_of(dict.fromkeys([_WITH_GIL[0], _WITH_GIL[-1]]))

#: The screen fails while it runs.
_CRASH = """
import sys
from pystack import __main__
from pystack_profiler.top.live import LiveView
look, looks = LiveView.look, []
def failing(*arguments):
    looks.append(1)
    if len(looks) > 2: raise ValueError("crashed on purpose")
    return look(*arguments)
LiveView.look = failing
sys.exit(__main__.main())
"""


class Terminal:
    """A shell in tmux, which shows what a terminal would show."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")
        self._states = 0
        shell = "env -u NO_COLOR PS1='$ ' bash --norc --noprofile -i"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "32", shell)
        self.expect(r"^\$")

    def type(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def run(self, *command: str) -> None:
        self.type(f"clear; {shlex.join(command)}; echo status=$?", "Enter")

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def expect(self, pattern: str) -> None:
        try:
            wait_until(lambda: re.search(pattern, self.screen(), re.MULTILINE) is not None, pattern)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.screen()}") from None

    def state(self) -> list[str]:
        """What a program can leave changed: settings, alternate screen, cursor, mouse, keys."""
        modes = "alternate_on cursor_flag mouse_any_flag keypad_flag"
        shown = self._tmux("display", "-p", " ".join(f"#{{{mode}}}" for mode in modes.split()))
        # The screen may still have an earlier answer.
        self._states += 1
        self.type(f"clear; echo state {self._states} $(stty -a | cksum)", "Enter")
        self.expect(rf"^state {self._states} \d+ \d+$")
        sums = re.findall(rf"^state {self._states} (\d+ \d+)$", self.screen(), re.MULTILINE)
        return [shown.strip(), *sums]

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        # The shell of the session inherits the folder: see TOOL_FOLDER.
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=TOOL_FOLDER)
        return done.stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def lock_target(tmp_path: Path, interpreter: Interpreter = _WITH_GIL[-1]) -> Target:
    target = interpreter.spawn([str(PROGRAMS / "one_lock.py"), str(tmp_path / "facts"), "3"])
    wait_until((tmp_path / "facts").exists, "the threads wait for the lock")
    return target


@each
def test_threads_and_what_they_wait_for(tmp_path: Path, interpreter: Interpreter) -> None:
    with lock_target(tmp_path, interpreter) as target:
        tids = set(thread_ids(target.pid))
        done = run_tool("top", "--once", "--every", "600ms", target.pid)
    assert done.returncode == 0, done.stderr
    row = r"^ +(\d+)  (\S.*?) +waiting(?: +[\d.?]+){3}  (\S.*)$"
    rows = re.findall(row, done.stdout, re.MULTILINE)
    assert {int(tid) for tid, _, _ in rows} == tids
    waits = [place for _, _, place in rows if place.startswith("lock LOCK, ")]
    assert len(waits) == 3, done.stdout
    assert all("in take one_lock.py:" in place for place in waits)
    assert re.search(r"^ *(\d+\.\d) +\1  <waiting: lock LOCK", done.stdout, re.MULTILINE)


def test_it_says_that_the_process_is_stopped(tmp_path: Path) -> None:
    with lock_target(tmp_path) as target:
        os.kill(target.pid, signal.SIGSTOP)
        wait_until(lambda: run_state(target.pid) == "T", "the process is stopped")
        done = run_tool("top", "--once", "--every", "300ms", target.pid)
        os.kill(target.pid, signal.SIGCONT)
        again = run_tool("top", "--once", "--every", "300ms", target.pid)
    assert "\nthe process is stopped (for example by SIGSTOP)" in done.stdout
    assert "is stopped" not in again.stdout


def test_a_crash_leaves_the_terminal_as_it_was(tmp_path: Path, terminal: Terminal) -> None:
    with lock_target(tmp_path) as target:
        before = terminal.state()
        terminal.run(sys.executable, "-c", _CRASH, "top", "--every", "100ms", str(target.pid))
        terminal.expect(r"^ValueError: crashed on purpose")
        terminal.expect(r"^status=1")
        assert terminal.state() == before


def test_it_can_be_stopped_and_resized(tmp_path: Path, terminal: Terminal) -> None:
    with lock_target(tmp_path) as target:
        before = terminal.state()
        # The shell's own variables say nothing of a size that changes. No second command: bash would run it when
        # the first is stopped.
        command = shlex.join([*TOOL, "top", "--every", "200ms", str(target.pid)])
        terminal.type(f"COLUMNS=110 LINES=32 {command}", "Enter")
        terminal.expect(r"^ *TID +thread")
        terminal.type("C-z")
        terminal.expect(r"^\[1\]\+ +Stopped")
        assert terminal.state() == before
        terminal.type("fg", "Enter")
        terminal.expect(r"^ *TID +thread(.*\n)+ *q Quit")
        for columns, rows in ((70, 14), (130, 40), (110, 32)):
            terminal.resize(columns, rows)
            # The header is at the top and the keys are at the bottom, whatever the size was before.
            terminal.expect(rf"\A\S.*\nGIL .*\n(.*\n){{{rows - 3}}} *q Quit.*\n*\Z")
        terminal.type("q")
        terminal.expect(r"^\$ *$")
        assert terminal.state() == before


def test_it_ends_with_its_terminal_and_with_a_command(tmp_path: Path, terminal: Terminal) -> None:
    pids = tmp_path / "pids"
    code = f"import os; print('started', flush=True); open({str(pids)!r}, 'w').write(f'{{os.getppid()}} {{os.getpid()}}'); os.read(os.pipe()[0], 1)"
    command = [*TOOL, "top", "--", sys.executable, "-c", code]
    terminal.run(*command)
    terminal.expect(r"MainThread")
    terminal.type("q")
    terminal.expect(r"^pystack: the command printed:\n(.*\n)*KeyboardInterrupt\n(.*\n)*status=1?")
    assert "started" in terminal.screen()
    pids.unlink()
    terminal.run(*command)
    terminal.expect(r"MainThread")
    top, child = map(int, pids.read_text().split())
    terminal.close()
    for pid in (top, child):
        wait_until(lambda pid=pid: not thread_ids(pid), "it ends with its terminal")  # type: ignore[misc]
