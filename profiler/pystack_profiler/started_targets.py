"""Opens the targets in a command that was just started."""

from __future__ import annotations

from collections.abc import Callable

from pystack.errors import PystackError

from . import driver
from .driver import OneProcess, Targets
from .launched_command import Command, open_started
from .process_recorder import ProcessRecorder
from .recorder import open_targets
from .settings import Settings


def open_started_targets(
    command: Command, settings: Settings, is_interrupted: Callable[[], bool]
) -> Targets | None:
    """As `open_targets`, but waits until the command runs Python.

    Returns None if the command exited first or the wait was interrupted.
    """

    def stop_requested() -> bool:
        return is_interrupted() or command.has_ended()

    if settings.subprocesses:
        try:
            return open_targets(command.pid, settings, stop_requested)
        except PystackError:
            if command.has_ended():
                return None
            raise
    sampler = open_started(
        command, lambda pid: driver.open_sampler(pid, settings, stop_requested), is_interrupted
    )
    return None if sampler is None else OneProcess(ProcessRecorder(sampler, command.pid))
