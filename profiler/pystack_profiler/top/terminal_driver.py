"""The terminal as Textual uses it, but one that may disappear."""

from __future__ import annotations

from typing import Any

from textual.drivers.linux_driver import LinuxDriver


class TerminalDriver(LinuxDriver):
    """Does not wait for a terminal that is gone, and does not start twice.

    If the terminal hangs up, Textual's writer thread ends, and its queue fills up: the next write would wait
    forever. And with the hangup comes a SIGCONT, which Textual takes for the end of a suspension.
    """

    def write(self, data: str) -> None:
        if self._can_write():
            super().write(data)

    def close(self) -> None:
        if self._can_write():
            super().close()

    def _sigcont_application(self, *arguments: Any) -> None:
        if self._must_signal_resume:
            super()._sigcont_application(*arguments)

    def _can_write(self) -> bool:
        return self._writer_thread is not None and self._writer_thread.is_alive()
