"""The command lines of `pystack diff` and `pystack merge`."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence

import click

from pystack.cli.options import HELP_FLAGS, common_options
from pystack.cli.screen import print_status, write_lines
from pystack.errors import InvalidArgument

from . import exporters
from .combine import begins_ns, combined
from .comparison import Comparison, compare, comparison_text, parse_condition
from .exporters.html import Side, export_comparison
from .format_options import (
    chosen_format,
    format_option,
    frame_options,
    json_option,
    limit_option,
    mode_options,
    source_option,
)
from .input_files import check_distinct, check_not_input
from .made_file import write_made
from .output import STDOUT, replacing
from .recording_file import load
from .stats import plural
from .view import Granularity, Mode, View

_FAILED = 1


@click.command("diff", context_settings=HELP_FLAGS)
@click.argument("before")
@click.argument("after")
@click.option(
    "--also-before", multiple=True, metavar="FILE", help="One more recording of BEFORE. Repeat."
)
@click.option(
    "--also-after", multiple=True, metavar="FILE", help="One more recording of AFTER. Repeat."
)
@click.option(
    "--fail-if",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Exit with status 1 if it is true, and more than chance: 'total>+5%' of the whole program's"
    " time, 'parse:self>+2pp' (points of its share), 'parse:total>+10%' (of its time). Repeat.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Also write a differential flame graph (.html) to FILE; `-` is stdout, instead of the table.",
)
@json_option
@limit_option(20, "functions")
@mode_options
@common_options
@click.pass_context
def diff(
    ctx: click.Context,
    before: str,
    after: str,
    also_before: tuple[str, ...],
    also_after: tuple[str, ...],
    conditions: tuple[str, ...],
    output: str | None,
    as_json: bool,
    limit: int,
    mode: Mode,
) -> None:
    """Compare the recordings (.pystack) of two versions of a program.

    \b
        pystack diff old.pystack new.pystack
        pystack diff old.pystack new.pystack --mode cpu --fail-if 'total>+5%'
        pystack diff old.pystack new.pystack -o diff.html

    A row has the share of the time that a function had, and how much of its change chance explains. Several
    recordings of each version say more about that: from three on, their differences count.
    """
    if output not in (None, STDOUT) and exporters.by_suffix(output or "") is not exporters.HTML:
        raise click.UsageError(f"A differential flame graph is a page: end {output!r} with .html.")
    parsed = [parse_condition(text) for text in conditions]
    paths = (before, *also_before), (after, *also_after)
    for side in paths:
        check_distinct(side)
    if output is not None:
        check_not_input(output, paths[0] + paths[1])
    sides = [[load(path) for path in side] for side in paths]
    for path, recording in zip(paths[0] + paths[1], sides[0] + sides[1], strict=True):
        if not recording.sample_count:
            raise InvalidArgument(f"{path} has no samples: there is nothing to compare")
    comparison = compare(sides[0], sides[1], View(mode))
    if as_json:
        write_lines(json.dumps(comparison.to_json(), indent=2).splitlines())
    elif output != STDOUT:
        write_lines(comparison_text(comparison, limit))
    if output is not None:
        titles = [", ".join(map(posixpath.basename, side)) for side in paths]
        pages = [Side(title, side) for title, side in zip(titles, sides, strict=True)]
        _write_page(ctx, output, pages, comparison)
    met = [condition for condition in parsed if condition.is_met(comparison)]
    for condition in met:
        print_status(f"failed: {condition.text}")
    ctx.exit(_FAILED if met else 0)


def _write_page(
    ctx: click.Context, output: str, sides: Sequence[Side], comparison: Comparison
) -> None:
    try:
        with replacing(output, owner_only=exporters.HTML.holds_command_line) as stream:
            export_comparison(sides[0], sides[1], comparison, stream, comparison.view)
    except OSError as error:
        print_status(f"cannot write {output}: {error.strerror}")
        ctx.exit(_FAILED)
    if output != STDOUT:
        print_status(f"{output}: differential flame graph; open it in a browser")


@click.command("merge", context_settings=HELP_FLAGS)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", metavar="OUT", required=True, help="Write to OUT; `-` is stdout.")
@format_option
@mode_options
@click.option("-t", "--threads", is_flag=True, help="Show threads, and processes, as root frames.")
@frame_options
@source_option
@common_options
@click.pass_context
def merge(
    ctx: click.Context,
    files: tuple[str, ...],
    output: str,
    format_name: str | None,
    mode: Mode,
    threads: bool,
    granularity: Granularity,
    full_filenames: bool,
    no_source: bool,
) -> None:
    """Merge recordings (FILES.pystack) into one, with the processes of all.

    \b
        pystack merge rank0.pystack rank1.pystack -o all.pystack
        pystack merge rank*.pystack -o all.html

    Recordings that ran at the same time keep their distance in time; others begin together.
    """
    chosen = chosen_format(output, format_name)
    check_distinct(files)
    check_not_input(output, files)
    begins = begins_ns([load(path, in_order=False) for path in files])
    recording = combined(
        [load(path, begin_ns=begin_ns) for path, begin_ns in zip(files, begins, strict=True)]
    )
    view = View(mode, granularity, threads, full_filenames, source=not no_source)
    processes = plural(len(recording.profiles), "process", "es")
    contents = f"{plural(recording.sample_count, 'sample')} in {processes}"
    write_made(ctx, recording, output, chosen, view, contents)
