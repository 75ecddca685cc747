"""The `pystack` command. A sub-command is imported when it is called, and click when it is needed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from pystack.cli import commands
from pystack.cli.declare import Command, Settings, UsageProblem
from pystack.cli.options import COMMON_OPTIONS
from pystack.cli.outcome import TERMINATED, reported
from pystack.cli.quick_parse import Invocation, parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, by default that of `sys.argv`, and returns its exit status."""
    words = sys.argv[1:] if arguments is None else [*arguments]
    settings = Settings()
    with _ends_on_sigterm():
        return reported(lambda: _run(words, settings), settings)


def _run(words: list[str], settings: Settings) -> int:
    invocation = _quick_invocation(words, settings)
    if invocation is not None:
        try:
            return invocation.run()
        except UsageProblem:
            pass  # Click finds the same, and says how the command is called.
    from pystack.cli import group

    return group.run(words)


def _quick_invocation(words: list[str], settings: Settings) -> Invocation | None:
    """None if click must read the words."""
    if not words or "_PYSTACK_COMPLETE" in os.environ:
        return None
    command = commands.load(words[0])
    if not isinstance(command, Command):
        return None
    return parse(command, words[1:], COMMON_OPTIONS, settings)


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    """Makes SIGTERM raise SystemExit, as Ctrl-C raises KeyboardInterrupt.

    Temporary files are removed, and the first process of a container ends, which ignores SIGTERM by
    default.
    """

    def terminate(_: int, __: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    is_default = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    try:
        if is_default:
            signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # Only the main thread may set it.
        is_default = False
    try:
        yield
    finally:
        if is_default:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
