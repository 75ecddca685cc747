"""The commands, which are imported when they are called."""

from __future__ import annotations

import sys

from pystack.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click

#: Name: (module, attribute).
COMMANDS = {
    "dump": ("pystack.cli.dump", "dump"),
    "core": ("pystack.cli.core", "core"),
    "record": ("pystack_profiler.cli", "record"),
    "top": ("pystack_profiler.top_cli", "top"),
    "report": ("pystack_profiler.report_cli", "report"),
    "convert": ("pystack_profiler.convert_cli", "convert"),
    "diff": ("pystack_profiler.compare_cli", "diff"),
    "merge": ("pystack_profiler.compare_cli", "merge"),
    "doctor": ("pystack.cli.doctor", "doctor"),
}
#: The help does not list them.
_ALIASES = {"remote": "dump"}


def load(name: str) -> Command | click.Command | None:
    """The command of that name, or None."""
    name = _ALIASES.get(name, name)
    if name not in COMMANDS:
        return None
    module, attribute = COMMANDS[name]
    # Not importlib, which imports more.
    __import__(module)
    command: Command | click.Command = getattr(sys.modules[module], attribute)
    return command
