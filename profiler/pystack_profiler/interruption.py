"""Ctrl-C, SIGTERM and SIGHUP: the first signal finishes the recording, a second one aborts it.

If nothing has been recorded yet, or only the file is left to write, the first signal aborts.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType

#: Signals within this time are one request: `timeout` sends its signal to the process and to its
#: group, and a parent may forward the terminal's Ctrl-C.
_SAME_REQUEST_S = 0.5

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Abandoned(BaseException):
    """The user aborted the recording: nothing may be written any more."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number


class Interruption:
    """Inside the context, the first signal sets `requested`, and a later one raises `Abandoned`."""

    def __init__(self) -> None:
        self.requested = False
        self._is_last_step = False
        self._receiver: Callable[[int], None] = lambda _: None
        self._first_number = 0
        self._first_at_s = 0.0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        for number in _SIGNALS:
            # An ignored SIGHUP is intended: nohup.
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None: the handler was not set from Python and cannot be restored from it.
            if handler is not None:
                signal.signal(number, handler)  # type: ignore[arg-type]

    def pass_on(self, receiver: Callable[[int], None]) -> None:
        """Passes the first signal's number to `receiver`, also if it has already arrived."""
        self._receiver = receiver
        if self.requested:
            receiver(self._first_number)

    def begin_last_step(self) -> None:
        """From now on, the first signal aborts at once."""
        self._is_last_step = True

    def abandoned(self) -> Abandoned:
        """The exception to raise if there is nothing to finish after the signal."""
        return Abandoned(self._first_number)

    def _handle(self, number: int, _: FrameType | None) -> None:
        now_s = time.monotonic()
        if not self.requested:
            self.requested = True
            self._first_number = number
            self._first_at_s = now_s
            self._receiver(number)
            if self._is_last_step:
                raise Abandoned(number)
        elif now_s - self._first_at_s > _SAME_REQUEST_S:
            signal.signal(number, signal.SIG_DFL)
            raise Abandoned(number)
