"""The command line of `pystack convert`."""

from __future__ import annotations

import click

from pystack.cli.options import HELP_FLAGS, common_options

from .destination import push
from .format_options import (
    chosen_format,
    format_option,
    frame_options,
    mode_options,
    push_option,
    push_target,
    source_option,
)
from .input_files import check_not_input
from .made_file import write_made
from .recording_file import Selection, load
from .selection_options import check_selected, selection_options
from .stats import format_time, plural
from .view import Granularity, Mode, View


@click.command("convert", context_settings=HELP_FLAGS)
@click.argument("file")
@click.option("-o", "--output", metavar="OUT", help="Write to OUT; `-` is stdout.")
@format_option
@push_option
@selection_options
@mode_options
@click.option("-t", "--threads", is_flag=True, help="Show threads, and processes, as root frames.")
@frame_options
@source_option
@common_options
@click.pass_context
def convert(
    ctx: click.Context,
    file: str,
    output: str | None,
    format_name: str | None,
    push_url: str | None,
    selection: Selection,
    mode: Mode,
    threads: bool,
    granularity: Granularity,
    full_filenames: bool,
    no_source: bool,
) -> None:
    """Convert a recording (FILE.pystack), or a part of it, to another format, or send it to a server.

    \b
        pystack convert x.pystack -o out.html
        pystack convert x.pystack -o out.json --from 10s --to 1m --thread 'worker-*'
        pystack convert x.pystack --push http://pyroscope:4040/ingest
    """
    target = push_target(push_url)
    if output is None and target is None:
        raise click.UsageError("Give -o OUT or --push URL.")
    chosen = chosen_format(output, format_name)
    if output is not None:
        check_not_input(output, [file])
    recording = load(file, selection)
    check_selected(recording, selection)
    view = View(mode, granularity, threads, full_filenames, source=not no_source)
    samples = plural(recording.sample_count, "sample")
    contents = f"{samples} over {format_time(recording.duration_ns)}"
    if output is not None:
        write_made(ctx, recording, output, chosen, view, contents)
    if target is not None:
        ctx.exit(push(target, recording, view))
