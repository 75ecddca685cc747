"""The command lines of `pystack diff` and `pystack merge`."""

from __future__ import annotations

import json

import click

from pystack.cli.options import HELP_FLAGS, common_options
from pystack.cli.screen import print_status, write_lines

from .combine import begins_ns, combined
from .comparison import compare, comparison_text, parse_condition
from .format_options import (
    chosen_format,
    format_option,
    frame_options,
    json_option,
    limit_option,
    mode_options,
)
from .made_file import write_made
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
    as_json: bool,
    limit: int,
    mode: Mode,
) -> None:
    """Compare the recordings (.pystack) of two versions of a program.

    \b
        pystack diff old.pystack new.pystack
        pystack diff old.pystack new.pystack --mode cpu --fail-if 'total>+5%'

    A row has the share of the time that a function had, and how much of its change chance explains. Several
    recordings of each version say more about that: from three on, their differences count.
    """
    parsed = [parse_condition(text) for text in conditions]
    sides = [
        [load(path) for path in paths] for paths in ((before, *also_before), (after, *also_after))
    ]
    comparison = compare(sides[0], sides[1], View(mode))
    if as_json:
        write_lines(json.dumps(comparison.to_json(), indent=2).splitlines())
    else:
        write_lines(comparison_text(comparison, limit))
    met = [condition for condition in parsed if condition.is_met(comparison)]
    for condition in met:
        print_status(f"failed: {condition.text}")
    ctx.exit(_FAILED if met else 0)


@click.command("merge", context_settings=HELP_FLAGS)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", metavar="OUT", required=True, help="Write to OUT; `-` is stdout.")
@format_option
@mode_options
@click.option("-t", "--threads", is_flag=True, help="Show threads, and processes, as root frames.")
@frame_options
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
) -> None:
    """Merge recordings (FILES.pystack) into one, with the processes of all.

    \b
        pystack merge rank0.pystack rank1.pystack -o all.pystack
        pystack merge rank*.pystack -o all.html

    Recordings that ran at the same time keep their distance in time; others begin together.
    """
    chosen = chosen_format(output, format_name)
    begins = begins_ns([load(path, in_order=False) for path in files])
    recording = combined(
        [load(path, begin_ns=begin_ns) for path, begin_ns in zip(files, begins, strict=True)]
    )
    view = View(mode, granularity, threads, full_filenames)
    processes = plural(len(recording.profiles), "process", "es")
    contents = f"{plural(recording.sample_count, 'sample')} in {processes}"
    write_made(ctx, recording, output, chosen, view, contents)
