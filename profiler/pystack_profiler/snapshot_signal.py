"""SIGUSR1: asks for a snapshot of what was recorded until now."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class SnapshotSignal:
    """Inside the context, SIGUSR1 is a request, and does not end the process."""

    def __init__(self) -> None:
        self._is_requested = False
        self._before: object = None

    def __enter__(self) -> SnapshotSignal:
        self._before = signal.signal(signal.SIGUSR1, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # None: the handler was not set from Python and cannot be restored from it.
        if self._before is not None:
            signal.signal(signal.SIGUSR1, self._before)  # type: ignore[arg-type]

    def take_request(self) -> bool:
        """Whether there was a signal since the last call."""
        taken, self._is_requested = self._is_requested, False
        return taken

    def _handle(self, _: int, __: FrameType | None) -> None:
        self._is_requested = True
