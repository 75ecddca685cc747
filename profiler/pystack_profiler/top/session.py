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
from ..interruption import Interruption
from ..launched_command import exit_status_of, launched, say_if_it_runs_on
from ..profile import Recording
from ..recorder import open_targets
from ..settings import Settings
from ..started_targets import open_started_targets
from .command_output import CommandOutput
from .live import LiveView
from .selection import Look
from .slices import SliceLog
from .text_frames import text_frame


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
        command = launched(arguments, output=output.descriptor)
        if isinstance(command, int):
            return command
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
        say_if_it_runs_on(command, name)
        return exit_status_of(command)


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
