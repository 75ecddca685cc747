"""A run of `pystack record`: finds the target, and records it to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack

from pystack import process_facts
from pystack.cli.hints import in_options
from pystack.cli.screen import print_status
from pystack.errors import Cancelled, PystackError
from pystack.render.escape import quote_command

from . import driver
from .child_watch import ChildWatch
from .cpu_budget import CpuBudget
from .destination import Output
from .driver import Targets
from .file_series import FileSeries, RequestedFiles
from .interruption import Interruption
from .launched_command import Command, exit_status_of, launched, say_if_it_runs_on
from .profile import Recording
from .progress import LossAdvice, ProgressLine, RateAdvice
from .recorder import open_targets
from .settings import Settings
from .snapshot_signal import SnapshotSignal
from .started_targets import open_started_targets


def record_process(
    pid: int,
    settings: Settings,
    requested: RequestedFiles,
    interruption: Interruption,
    snapshots: SnapshotSignal,
) -> int:
    """Returns the exit status."""

    def stop_requested() -> bool:
        return interruption.requested

    try:
        targets = open_targets(pid, settings, stop_requested)
        if process_facts.thread_state(pid, pid) == "T":
            print_status(
                f"Warning: process {pid} is stopped (for example by SIGSTOP): until it goes on, all of its threads wait,"
                " also the one that holds the GIL"
            )
        recording, output = _record(
            targets, pid, settings, requested, stop_requested, snapshots, show_progress=True
        )
    except Cancelled:
        raise interruption.abandoned() from None
    interruption.begin_last_step()
    return output.save(recording)


def record_command(
    arguments: list[str],
    settings: Settings,
    requested: RequestedFiles,
    interruption: Interruption,
    snapshots: SnapshotSignal,
) -> int:
    """Returns the exit status of the command, even if the recording fails."""
    command = launched(arguments)
    if isinstance(command, int):
        return command
    interruption.pass_on(command.forward)
    name = quote_command(tuple(arguments))
    try:
        made = _record_started(command, settings, requested, interruption, snapshots)
    except PystackError as error:
        _report_error(error)
        print_status(f"nothing was written; waiting for {name} to exit")
    else:
        if made is None:
            what = f"{name} exited" if command.has_ended() else "recording was interrupted"
            print_status(f"{what} before a Python interpreter was found; nothing was written")
        else:
            interruption.begin_last_step()
            recording, output = made
            output.save(recording)
        say_if_it_runs_on(command, name)
    return exit_status_of(command)


def _record_started(
    command: Command,
    settings: Settings,
    requested: RequestedFiles,
    interruption: Interruption,
    snapshots: SnapshotSignal,
) -> tuple[Recording, Output | FileSeries] | None:
    """Returns None if the command exited first or the recording was interrupted."""

    def stop_requested() -> bool:
        return interruption.requested or command.has_ended()

    try:
        targets = open_started_targets(command, settings, lambda: interruption.requested)
        if targets is None:
            return None
        # No progress line, because the command uses the terminal now.
        made = _record(
            targets,
            command.pid,
            settings,
            requested,
            stop_requested,
            snapshots,
            show_progress=False,
        )
    except PystackError:
        if settings.subprocesses and command.has_ended():
            return None
        raise
    recording, _ = made
    if recording.end_reason == "stopped" and command.has_ended():
        recording.end_reason = "target_exited"  # the sampler may notice it later
        for profile in recording.profiles:
            if profile.process.pid == command.pid and profile.process.end_reason == "stopped":
                profile.process.end_reason = "target_exited"
    return made


def _record(
    targets: Targets,
    pid: int,
    settings: Settings,
    requested: RequestedFiles,
    stop_requested: Callable[[], bool],
    snapshots: SnapshotSignal,
    *,
    show_progress: bool,
) -> tuple[Recording, Output | FileSeries]:
    recording = driver.new_recording(pid, settings)
    with ExitStack() as stack:
        line = stack.enter_context(
            ProgressLine(sys.stderr, pid, settings.duration_s, shown=show_progress)
        )
        output = requested.output(line.say)
        log = stack.enter_context(output.growing(recording))
        advice: list[LossAdvice | RateAdvice] = [
            LossAdvice(line.say),
            RateAdvice(line.say, settings),
        ]
        children = None if settings.subprocesses else ChildWatch(pid)

        def on_progress(progress: driver.Progress) -> None:
            line.update(progress)
            for one in advice:
                one.update(progress)
            if children is not None:
                children.update()
            output.update(recording)
            if snapshots.take_request():
                output.save_snapshot(recording)

        driver.record_targets(
            targets,
            recording,
            settings.duration_s,
            stop_requested=lambda: output.has_failed or stop_requested(),
            on_progress=on_progress,
            log=log,
            rotation=output if isinstance(output, FileSeries) else None,
            budget=None
            if settings.max_cpu is None
            else CpuBudget(settings.max_cpu, whole_process=True),
        )
        if children is not None:
            recording.python_children = children.count()
    return recording, output


def _report_error(error: PystackError) -> None:
    print_status(f"{error}.")
    if error.hint:
        print_status(in_options(error.hint))
