"""Starts the command that is recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pystack.cli.screen import print_status
from pystack.errors import PermissionDenied, PystackError, VersionUnsupported

from .interruption import Abandoned
from .process_recorder import Sampler

#: A command that does not run Python after this time is given up. Wrappers must `exec` Python by then.
OPEN_WITHIN_S = 10.0

#: A retry does not help with these errors. Any other can mean that the interpreter is starting up.
_FINAL = (PermissionDenied, VersionUnsupported)

_SOON_S = 0.3  # a command that exits within this time is not reported as running
_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # as in shells, env and time

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.1


class Command:
    """The running command. It usually shares our terminal, so Ctrl-C reaches it directly."""

    def __init__(self, arguments: Sequence[str], *, output: int | None = None) -> None:
        """Raises OSError if it cannot be started. When this returns, `exec` has succeeded.

        `output` is a file descriptor for its stdout and stderr; then it has no input. None: it has ours.
        """
        self._process = subprocess.Popen(
            list(arguments),
            stdin=None if output is None else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        self.pid = self._process.pid

    def has_ended(self) -> bool:
        """Whether the command has exited. Its pid stays reserved until `wait`."""
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def forward(self, signal_number: int) -> None:
        """Forwards SIGTERM; the terminal sends the other signals itself."""
        if signal_number == signal.SIGTERM:
            self.send(signal_number)

    def send(self, signal_number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal_number)

    def ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self) -> int:
        """Waits until it exits. Returns its exit status, or 128 + N if signal N ended it."""
        status = self._process.wait()
        return status if status >= 0 else 128 - status


def launched(arguments: Sequence[str], *, output: int | None = None) -> Command | int:
    """The running command. If it cannot be started, says why and returns the exit status. `output`: see `Command`."""
    try:
        return Command(arguments, output=output)
    except OSError as error:
        print_status(f"cannot start {arguments[0]}: {error.strerror}")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_EXECUTE


def say_if_it_runs_on(command: Command, name: str) -> None:
    if not command.ends_within(_SOON_S):
        print_status(f"waiting for {name} to exit")


def exit_status_of(command: Command) -> int:
    """Waits for it. If the user does not want to wait, that of being interrupted."""
    try:
        return command.wait()
    except Abandoned as abandoned:
        return abandoned.exit_status


def open_started(
    command: Command, open_sampler: Callable[[int], Sampler], stop_requested: Callable[[], bool]
) -> Sampler | None:
    """Opens the sampler as soon as Python is found in the command.

    Returns None if the command exited first or a stop was requested. Raises the error of the last
    attempt if Python was not found in time or cannot be read.
    """
    deadline_s = time.monotonic() + OPEN_WITHIN_S
    pause_s = _FIRST_PAUSE_S
    while not (command.has_ended() or stop_requested()):
        try:
            return open_sampler(command.pid)
        except PystackError as error:
            if isinstance(error, _FINAL) or time.monotonic() > deadline_s:
                if command.has_ended():
                    return None
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return None
