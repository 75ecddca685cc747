"""A command that is started in order to be recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pystack.errors import PermissionDenied, PystackError, VersionUnsupported

from .recording import Sampler

#: A command that is not Python by then is taken to be none. Wrappers have that long to `exec` it.
OPEN_WITHIN_S = 10.0

#: No retry helps with these. All else can be an interpreter that is just coming up.
_FINAL = (PermissionDenied, VersionUnsupported)

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.1


class Command:
    """The running command. It shares our terminal, so Ctrl-C reaches it without our doing."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Raises OSError where it cannot be started. When this returns, `exec` has happened."""
        self._process = subprocess.Popen(list(arguments))
        self.pid = self._process.pid

    def has_ended(self) -> bool:
        """Whether it has; its pid stays reserved until `wait`."""
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def forward(self, signal_number: int) -> None:
        """Passes on what the terminal does not send by itself: SIGTERM."""
        if signal_number == signal.SIGTERM:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)

    def ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self) -> int:
        """Waits for its end; its exit status, 128 + N where signal N ended it."""
        status = self._process.wait()
        return status if status >= 0 else 128 - status


def open_started(
    command: Command, open_sampler: Callable[[int], Sampler], stop_requested: Callable[[], bool]
) -> Sampler | None:
    """Opens the sampler as soon as Python is found in the command.

    None: the command ended first, or a stop was requested. Raises the last attempt's error when
    Python is not found in time, or never will be.
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
