"""Ctrl-C and its relatives: the first asks to finish, a later one to abandon."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType

#: Signals that come together are one request: `timeout` sends its signal to the process and to its
#: group, and a terminal's Ctrl-C may be passed on by a parent as well.
_SAME_REQUEST_S = 0.5

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Abandoned(BaseException):
    """Asked twice to end: nothing is to be written any more."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number


class Interruption:
    """While entered, signals set `requested`; one that comes later raises `Abandoned`."""

    def __init__(self) -> None:
        self.requested = False
        self._receiver: Callable[[int], None] = lambda _: None
        self._first_number = 0
        self._first_at_s = 0.0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        for number in _SIGNALS:
            # A hang-up that is ignored was meant to be: nohup.
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
            # None: the handler was not set from Python, and cannot be set back from it.
            if handler is not None:
                signal.signal(number, handler)  # type: ignore[arg-type]

    def pass_on(self, receiver: Callable[[int], None]) -> None:
        """Gives the number of the first signal to `receiver`, also when it has come already."""
        self._receiver = receiver
        if self.requested:
            receiver(self._first_number)

    def _handle(self, number: int, _: FrameType | None) -> None:
        now_s = time.monotonic()
        if not self.requested:
            self.requested = True
            self._first_number = number
            self._first_at_s = now_s
            self._receiver(number)
        elif now_s - self._first_at_s > _SAME_REQUEST_S:
            signal.signal(number, signal.SIG_DFL)
            raise Abandoned(number)
