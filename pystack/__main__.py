"""`python -m pystack` and the `pystack` command."""

import gc
import sys

from pystack.cli import main as run
from pystack.cli.screen import guard_stderr

__all__ = ["command", "main"]


def main() -> int:
    """The entry point. Only here pystack owns the process and may replace its streams."""
    guard_stderr()
    return run()


def command() -> int:
    """The console script: `main` in a process that ends afterwards.

    Modules stay until the end, so the garbage collector need not look through them, neither meanwhile
    nor when the process ends: a dump takes 7 ms less of a CPU.
    """
    gc.freeze()
    return main()


if __name__ == "__main__":
    sys.exit(command())
