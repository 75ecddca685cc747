"""The command line of `pystack report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import click

from pystack.cli.declare import option
from pystack.cli.options import HELP_FLAGS, common_options
from pystack.cli.quantities import is_pid
from pystack.cli.screen import write_lines

from . import quantities
from .format_options import frame_options, json_option, limit_option, mode_options
from .interruption import Abandoned, Interruption
from .page_file import NOTE, is_page, load_page
from .profile import Recording
from .record_call import record
from .recording_file import Selection, load
from .report import (
    QUESTIONS,
    Question,
    answer,
    answer_text,
    gil_answer,
    gil_text,
    overview,
    overview_text,
    wait_report,
    wait_text_lines,
)
from .selection_options import check_selected, selection_options
from .view import Granularity, Mode, View

_DEFAULT_DURATION_S = 5.0
_GIL = "gil"  # a question whose answer has other columns
_WAITS = "waits"


@click.command("report", context_settings=HELP_FLAGS)
@click.argument("file")
@click.argument("question", type=click.Choice((*QUESTIONS, _GIL, _WAITS)), required=False)
@click.argument("name", required=False)
@json_option
@limit_option(15, "functions or rows")
@option(
    "-d",
    "--duration",
    "duration_s",
    type=quantities.duration,
    metavar="TIME",
    help=f"With a PID: record for this time. Default: {_DEFAULT_DURATION_S:g}s.",
)
@option(
    "-r",
    "--rate",
    "rate_hz",
    type=quantities.rate,
    metavar="RATE",
    default="100",
    show_default=True,
    help="With a PID: samples per second.",
)
@selection_options
@mode_options
@frame_options
@common_options
@click.pass_context
def report(
    ctx: click.Context,
    file: str,
    question: str | None,
    name: str | None,
    as_json: bool,
    limit: int,
    duration_s: float | None,
    rate_hz: float,
    selection: Selection,
    mode: Mode,
    granularity: Granularity,
    full_filenames: bool,
) -> None:
    """Say what a recording (FILE.pystack, or a page FILE.html) or a process (PID) spends its time with.

    \b
        pystack report x.pystack
        pystack report 4711 -d 10s
        pystack report x.pystack callers parse
        pystack report x.pystack lines parse --mode cpu
        pystack report x.pystack waits

    QUESTION is callers, callees, lines, path or gil, of the function NAME; or waits: what the threads waited
    for, and which threads held it. Per cents of the overview are those of the time of all threads.
    """
    if question == _WAITS and name is not None:
        raise click.UsageError("The QUESTION waits is about all threads, not about a NAME.")
    if question != _WAITS and (question is None) != (name is None):
        raise click.UsageError("A QUESTION needs the NAME of a function.")
    view = View(mode, granularity, full_filenames=full_filenames)
    totals, notes = None, list[str]()
    is_live = is_pid(file) and not Path(file).exists()
    if not is_live and (_is_given(ctx, "duration_s") or _is_given(ctx, "rate_hz")):
        raise click.UsageError("--duration and --rate need a PID.")
    if is_live:
        if selection != Selection():
            raise click.UsageError("--from, --to and --thread need a FILE.")
        seconds = _DEFAULT_DURATION_S if duration_s is None else duration_s
        recording = _recorded(ctx, int(file, 0), seconds, rate_hz)
    elif is_page(file):
        if selection != Selection() or question in (_GIL, _WAITS):
            raise click.UsageError(
                "--from, --to, --thread, gil and waits need a FILE.pystack, not a page."
            )
        page = load_page(file)
        page.check_mode(mode)
        recording, totals, notes = page.recording, page.totals, [NOTE]
    else:
        recording = load(file, selection, in_order=question == _WAITS)
        check_selected(recording, selection)
    if question == _WAITS:
        waits = wait_report(recording, limit)
        document, lines = waits.to_json(), wait_text_lines(waits)
    elif question == _GIL and name is not None:
        times = gil_answer(recording, view, name, limit)
        document, lines = times.to_json(), gil_text(times)
    elif question is not None and name is not None:
        found = answer(recording, view, cast("Question", question), name, limit)
        document, lines = found.to_json(), answer_text(found)
    else:
        seen = overview(recording, view, limit, totals, notes)
        document, lines = seen.to_json(), overview_text(seen)
    write_lines(json.dumps(document, indent=2).splitlines() if as_json else lines)


def _is_given(ctx: click.Context, parameter: str) -> bool:
    return ctx.get_parameter_source(parameter) is click.core.ParameterSource.COMMANDLINE


def _recorded(ctx: click.Context, pid: int, duration_s: float | None, rate_hz: float) -> Recording:
    with Interruption() as interruption:
        try:
            return record(
                pid,
                duration_s=duration_s,
                rate_hz=rate_hz,
                stop_requested=lambda: interruption.requested,
            )
        except Abandoned as abandoned:
            ctx.exit(abandoned.exit_status)
