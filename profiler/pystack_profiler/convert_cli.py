"""The command line of `pystack convert`."""

from __future__ import annotations

import click

from pystack.cli.options import HELP_FLAGS, common_options

from .format_options import chosen_format, format_option, frame_options, mode_options
from .made_file import write_made
from .recording_file import Selection, load
from .selection_options import check_selected, selection_options
from .stats import format_time, plural
from .view import Granularity, Mode, View


@click.command("convert", context_settings=HELP_FLAGS)
@click.argument("file")
@click.option("-o", "--output", metavar="OUT", required=True, help="Write to OUT; `-` is stdout.")
@format_option
@selection_options
@mode_options
@click.option("-t", "--threads", is_flag=True, help="Show threads, and processes, as root frames.")
@frame_options
@common_options
@click.pass_context
def convert(
    ctx: click.Context,
    file: str,
    output: str,
    format_name: str | None,
    selection: Selection,
    mode: Mode,
    threads: bool,
    granularity: Granularity,
    full_filenames: bool,
) -> None:
    """Convert a recording (FILE.pystack), or a part of it, to another format.

    \b
        pystack convert x.pystack -o out.html
        pystack convert x.pystack -o out.json --from 10s --to 1m --thread 'worker-*'
    """
    chosen = chosen_format(output, format_name)
    recording = load(file, selection)
    check_selected(recording, selection)
    view = View(mode, granularity, threads, full_filenames)
    samples = plural(recording.sample_count, "sample")
    contents = f"{samples} over {format_time(recording.duration_ns)}"
    write_made(ctx, recording, output, chosen, view, contents)
