"""The output options of `dump` and `core`, and printing a snapshot."""

from __future__ import annotations

import sys

from pystack.cli.declare import Settings, option, option_group
from pystack.cli.screen import print_status, write_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from pystack.model import Snapshot
    from pystack.render.source import SourceReader
else:
    from pystack.named_tuple import NamedTuple


class Output(NamedTuple):
    """The values of the output options."""

    as_json: bool
    no_group: bool
    no_source: bool
    full: bool
    signatures: bool
    tasks: bool | None

    @property
    def wants_tasks(self) -> bool:
        """Whether tasks are read at all."""
        return self.tasks is not False

    @property
    def wants_sources(self) -> bool:
        return not (self.as_json or self.no_source)


output_options = option_group(
    "output",
    Output,
    (
        option("-j", "--json", "as_json", is_flag=True, help="Print JSON. The schema is dump-v1."),
        option("--no-group", is_flag=True, help="List every thread, even identical ones."),
        option("--no-source", is_flag=True, help="Do not read source files."),
        option(
            "--full",
            is_flag=True,
            help="Show repeated frames, long lines and long values in full.",
        ),
        option(
            "--signatures",
            is_flag=True,
            help="Show C++ and Rust functions with parameters and template arguments.",
        ),
        option(
            "--tasks/--no-tasks",
            "tasks",
            default=None,
            help="Show all tasks of asyncio and trio, and greenlets, or none. Default: at most 20 groups of each event loop.",
        ),
    ),
)


def write_snapshot(
    snapshot: Snapshot, output: Output, settings: Settings, sources: SourceReader | None
) -> None:
    """Prints a snapshot. `sources` is for text only; None prints no source lines."""
    if output.as_json:
        from pystack.render.json import render_json

        write_lines([render_json(snapshot)])
        return
    from pystack.render.terminal import wants_colour
    from pystack.render.text import render_text
    from pystack.render.text_options import TextOptions

    options = TextOptions(
        color=wants_colour(sys.stdout, no_color=settings.no_color),
        group=not output.no_group,
        full=output.full,
        plumbing=settings.verbosity > 0,
        signatures=output.signatures,
        all_tasks=bool(output.tasks),
    )
    write_lines(render_text(snapshot, options, sources), color=options.color)
    if any(_was_not_read(frame) for thread in snapshot.threads for frame in thread.frames):
        print_status("some variables were not read; --max-bytes allows more")


def _was_not_read(frame: object) -> bool:
    variables = getattr(frame, "variables", None) or ()
    return any((one.value or "").startswith("<not read:") for one in variables)
