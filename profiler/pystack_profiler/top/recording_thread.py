"""Drives the samplers beside the screen, which needs the main thread."""

from __future__ import annotations

import threading

from ..driver import Targets, record_targets
from ..profile import Recording
from .slices import SliceLog


class RecordingThread:
    """Records from `start` to `stop`, or until the targets end."""

    def __init__(
        self, targets: Targets, recording: Recording, duration_s: float | None, log: SliceLog
    ) -> None:
        self.recording = recording
        self._targets = targets
        self._duration_s = duration_s
        self._log = log
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pystack-top", daemon=True)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to see, because of an error or the duration."""
        ended = not self._thread.is_alive() and self.recording.end_reason != "target_exited"
        return self._error is not None or ended

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits until it has stopped. Raises what recording raised."""
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            record_targets(
                self._targets,
                self.recording,
                self._duration_s,
                stop_requested=self._stopping.is_set,
                pause=self._stopping.wait,
                log=self._log,
            )
        except BaseException as error:  # `stop` raises it in the main thread
            self._error = error
