"""A run of `pystack top`: opens the targets, and shows them on a screen or as text."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from pystack.cli.screen import print_status, write_lines
from pystack.errors import Cancelled, PystackError
from pystack.render.escape import escape, quote_command
from pystack.render.terminal import COLOURS, PLAIN, wants_colour

from .. import driver
from ..driver import Progress, Targets
from ..interruption import Abandoned, Interruption
from ..launched_command import Command
from ..profile import Recording
from ..recorder import open_targets
from ..settings import Settings
from ..started_targets import open_started_targets
from .command_output import CommandOutput
from .live import LiveView
from .selection import Look
from .slices import SliceLog
from .text_frames import text_frame

_SOON_S = 0.3  # a command that exits within this time is not reported as running
_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # as in shells, env and time


class Display(Protocol):
    """Records the targets and shows them meanwhile. Returns when that is over."""

    def __call__(
        self,
        targets: Targets,
        recording: Recording,
        settings: Settings,
        look: Look,
        stop_requested: Callable[[], bool],
    ) -> None: ...


def choose_display(look: Look) -> tuple[Display, bool]:
    """How to show it, and whether that takes the whole terminal."""
    if look.once or not _is_terminal():
        return show_text, False
    if find_spec("textual") is None:
        print_status(
            "showing text, because the screen needs Textual: pip install 'pystack-profiler[top]'"
        )
        return show_text, False
    from .screen import show_screen

    return show_screen, True


def top_process(pid: int, settings: Settings, look: Look, interruption: Interruption) -> int:
    """Returns the exit status."""
    display, _ = choose_display(look)

    def stop_requested() -> bool:
        return interruption.requested

    try:
        targets = open_targets(pid, settings, stop_requested)
    except Cancelled:
        raise interruption.abandoned() from None
    return _show(display, targets, pid, settings, look, stop_requested)


def top_command(
    arguments: list[str], settings: Settings, look: Look, interruption: Interruption
) -> int:
    """Returns the exit status of the command. It is interrupted when the user has seen enough."""
    display, takes_terminal = choose_display(look)
    with CommandOutput(hidden=takes_terminal) as output:
        try:
            command = Command(arguments, output=output.descriptor)
        except OSError as error:
            print_status(f"cannot start {arguments[0]}: {error.strerror}")
            return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_EXECUTE
        interruption.pass_on(command.forward)
        name = quote_command(tuple(arguments))
        try:
            targets = open_started_targets(command, settings, lambda: interruption.requested)
            if targets is None:
                print_status(f"{name} exited before a Python interpreter was found")
            else:
                _show(
                    display,
                    targets,
                    command.pid,
                    settings,
                    look,
                    # The screen stays, so that one can look at what was seen.
                    lambda: interruption.requested or (not takes_terminal and command.has_ended()),
                )
        except PystackError as error:
            print_status(f"{error}.")
        if takes_terminal and not command.has_ended():
            # As the terminal would have sent it.
            command.send(signal.SIGINT)
        if not command.ends_within(_SOON_S):
            print_status(f"waiting for {name} to exit")
        try:
            return command.wait()
        except Abandoned as abandoned:
            return abandoned.exit_status


def show_text(
    targets: Targets,
    recording: Recording,
    settings: Settings,
    look: Look,
    stop_requested: Callable[[], bool],
) -> None:
    """Prints frames on stdout."""
    log = SliceLog()
    view = LiveView(log, recording)
    color = wants_colour(sys.stdout, no_color=look.no_color)
    palette = COLOURS if color else PLAIN
    width = shutil.get_terminal_size().columns if sys.stdout and sys.stdout.isatty() else None
    printed = 0
    due_s = time.monotonic() + look.every_s

    def print_frame() -> None:
        nonlocal printed
        frame = view.look(look.selection)
        write_lines([*([""] if printed else []), *text_frame(frame, palette, width)], color=color)
        printed += 1

    def on_progress(_: Progress) -> None:
        nonlocal due_s
        if time.monotonic() >= due_s:
            due_s = max(due_s + look.every_s, time.monotonic())
            print_frame()

    driver.record_targets(
        targets,
        recording,
        settings.duration_s,
        stop_requested=lambda: stop_requested() or (look.once and printed > 0),
        on_progress=on_progress,
        log=log,
    )
    if not printed or recording.end_reason == "target_exited":
        print_frame()


def _show(
    display: Display,
    targets: Targets,
    pid: int,
    settings: Settings,
    look: Look,
    stop_requested: Callable[[], bool],
) -> int:
    """Returns the exit status."""
    recording = driver.new_recording(pid, settings)
    display(targets, recording, settings, look, stop_requested)
    if recording.end_reason != "failed":
        return 0
    reason = escape(recording.error or "unknown reason")
    print_status(f"Warning: sampling ended early: {reason}")
    return 1


def _is_terminal() -> bool:
    if os.environ.get("TERM", "dumb") == "dumb":
        return False
    # Textual draws on stderr.
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)
