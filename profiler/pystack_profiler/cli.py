"""The command line of `pystack record`."""

from __future__ import annotations

from dataclasses import replace

import click

from pystack.cli.options import HELP_FLAGS, common_options, settings_of
from pystack.cli.screen import print_status

from .destination import Destination, kept_beside
from .file_series import RequestedFiles
from .format_options import (
    chosen_format,
    format_option,
    frame_options,
    mode_options,
    push_option,
    push_target,
    source_option,
)
from .interruption import Abandoned, Interruption
from .output import expand
from .series_options import check_series, series_options
from .session import record_command, record_process
from .settings import Settings
from .snapshot_signal import SnapshotSignal
from .target_options import TargetCommand, sampling_options, target_arguments, target_of
from .view import Granularity, Mode, View

_DEFAULT_NAME = "pystack-%p-%t"


@click.command("record", cls=TargetCommand, context_settings=HELP_FLAGS)
@target_arguments
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write to FILE; `-` is stdout. %p is the pid, %t the time (UTC)."
    f" Default: {_DEFAULT_NAME} with the suffix of the format.",
)
@format_option
@click.option(
    "--keep",
    is_flag=True,
    help="Also keep everything that was recorded, for `pystack report` and `pystack convert`, in a file"
    " with the suffix .pystack beside FILE. It grows while recording.",
)
@push_option
@series_options
@sampling_options
@mode_options
@click.option("-t", "--threads", is_flag=True, help="Show threads, and processes, as root frames.")
@frame_options
@source_option
@common_options
@click.pass_context
def record(
    ctx: click.Context,
    pid: int | None,
    pid_option: int | None,
    output: str | None,
    format_name: str | None,
    keep: bool,
    push_url: str | None,
    every_s: float | None,
    max_files: int | None,
    settings: Settings,
    mode: Mode,
    threads: bool,
    granularity: Granularity,
    full_filenames: bool,
    no_source: bool,
) -> None:
    """Record where a Python process spends its time.

    \b
        pystack record 4711 -o out.html
        pystack record -o out.json -- python app.py --port 8000

    `--` may be omitted if COMMAND is a program in PATH.
    Records until the duration is over, Ctrl-C is pressed or the target exits, then writes the file.
    A second Ctrl-C aborts without a file. With a COMMAND, the exit status is that of the command.
    """
    target, command = target_of(ctx, pid, pid_option)
    chosen = chosen_format(output, format_name)
    if output is None:
        output = _DEFAULT_NAME + chosen.suffixes[0]
    if mode == "tasks":
        settings = replace(settings, tasks=True)
    view = View(mode, granularity, threads, full_filenames, source=not no_source)
    kept = kept_beside(output, chosen, _DEFAULT_NAME) if keep else None
    destination = Destination(
        output, chosen, view, settings_of(ctx).verbosity, kept, push_target(push_url)
    )
    check_series(output, every_s, max_files)
    for file in filter(None, (destination, destination.recording_file())):
        try:
            file.sink(expand(file.pattern, target or 0)).open()
        except OSError as error:
            print_status(f"cannot write {file.pattern}: {error.strerror}")
            ctx.exit(1)
    requested = RequestedFiles(destination, every_s, max_files)
    with Interruption() as interruption, SnapshotSignal() as snapshots:
        try:
            if target is not None:
                status = record_process(target, settings, requested, interruption, snapshots)
            else:
                status = record_command(command, settings, requested, interruption, snapshots)
        except Abandoned as abandoned:
            lost = "nothing was written" if every_s is None else "the last file was not written"
            print_status(f"aborted; {lost}")
            status = abandoned.exit_status
    ctx.exit(status)
