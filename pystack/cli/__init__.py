"""The `pystack` command. A sub-command is imported when it is called."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from pystack import __version__
from pystack.cli.options import HELP_FLAGS, common_options, settings_of
from pystack.cli.screen import guarded, print_status
from pystack.errors import OutOfMemory, PystackError, SystemFailure

_INTERRUPTED = 128 + 2  # as the shell counts SIGINT
_TERMINATED = 128 + 15  # and SIGTERM
_BROKEN_PIPE = 128 + 13  # and SIGPIPE

# Name: (module, attribute). The help does not list aliases.
_COMMANDS = {
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
_ALIASES = {"remote": "dump"}


class LazyGroup(click.Group):
    """Imports a sub-command when it is called, and turns exceptions into exit statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        module_name, attribute = _COMMANDS[name]
        from importlib import import_module

        command: click.Command = getattr(import_module(module_name), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PystackError as error:
            failure = error
        except BrokenPipeError:
            # The reader is gone, for example `head`. Nothing more may be written, not even at exit.
            _discard_stdout()
            ctx.exit(_BROKEN_PIPE)
        except KeyboardInterrupt:
            print_status("interrupted")
            ctx.exit(_INTERRUPTED)
        except MemoryError:
            failure = OutOfMemory("out of memory")
        except OSError as error:
            _discard_stdout()
            where = f" {error.filename}" if error.filename else ""
            failure = SystemFailure(
                f"cannot read or write{where}: {error.strerror or error}", errno=error.errno
            )
        except ImportError as error:
            failure = PystackError(
                f"this installation of pystack is incomplete: {error}",
                hint="Reinstall it. In a source tree, `python -m pystack` runs the source tree.",
            )
        from pystack.cli.failures import report

        report(failure, settings_of(ctx).verbosity)
        ctx.exit(failure.exit_code)


@click.group(cls=LazyGroup, context_settings=HELP_FLAGS)
@click.version_option(__version__, "--version", prog_name="pystack", message="%(prog)s %(version)s")
@common_options
def cli() -> None:
    """Show where a Python process is: now (dump), when it died (core), and over time (record).

    The process is read from outside: pystack never writes to it, never runs code in it, and never
    leaves it stopped.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, by default that of `sys.argv`, and returns its exit status."""
    try:
        with _ends_on_sigterm():
            status = cli.main(arguments, prog_name="pystack", standalone_mode=False)
    except click.ClickException as error:
        error.show(None if sys.stderr is None else guarded(sys.stderr))
        return error.exit_code
    except click.Abort:
        print_status("interrupted")
        return _INTERRUPTED
    return status if isinstance(status, int) else 0


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    """Makes SIGTERM raise SystemExit, as Ctrl-C raises KeyboardInterrupt.

    Temporary files are removed, and the first process of a container ends, which ignores SIGTERM by
    default.
    """

    def terminate(_: int, __: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _discard_stdout() -> None:
    import os

    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):
        pass
