"""`%%pystack` for IPython and notebooks; `%load_ext pystack_profiler` defines it."""

from __future__ import annotations

import shlex
from typing import Any

import click

from pystack.cli.declare import option

from . import quantities
from .record_call import record


def define(ipython: Any) -> None:
    """Gives the shell the magic."""

    def pystack(line: str, cell: str) -> object:
        """%%pystack [-r RATE] [-o FILE]: records the cell, and shows the flame graph below it.

        RATE is in samples per second (default: 1kHz). FILE is written as well; its suffix says the format.
        """
        rate_hz, output = _parse(line)
        with record(rate_hz=rate_hz) as block:
            ipython.run_cell(cell)
        if output is not None:
            block.save(output)
        return block

    ipython.register_magic_function(pystack, "cell", "pystack")


@click.command("%%pystack", add_help_option=False)
@option("-r", "--rate", "rate_hz", type=quantities.rate, default="1kHz")
@click.option("-o", "--output", type=click.Path())
def _options(rate_hz: float, output: str | None) -> tuple[float, str | None]:
    return rate_hz, output


def _parse(line: str) -> tuple[float, str | None]:
    """Raises ValueError for options that there are not."""
    try:
        parsed: tuple[float, str | None] = _options.main(shlex.split(line), standalone_mode=False)
    except click.ClickException as error:
        raise ValueError(f"%%pystack: {error.format_message()}") from None
    return parsed
