"""The `pystack` command. Sub-commands are imported when they are called, or asked for help."""

from __future__ import annotations

import sys
from typing import Any

import click

from pystack import __version__
from pystack.cli.options import HELP_FLAGS, common_options, settings_of
from pystack.errors import PermissionDenied, PystackError, SystemFailure

_INTERRUPTED = 128 + 2  # as the shell counts SIGINT
_BROKEN_PIPE = 128 + 13  # and SIGPIPE

# Name: (module, attribute). Aliases are not listed in the help.
_COMMANDS = {
    "dump": ("pystack.cli.dump", "dump"),
    "core": ("pystack.cli.core", "core"),
    "record": ("pystack_profiler.cli", "record"),
}
_ALIASES = {"remote": "dump"}


class LazyGroup(click.Group):
    """Imports a sub-command when it is called, and turns failures into exit statuses."""

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
            failure = _diagnosed(error)
        except BrokenPipeError:
            # The reader has left, as `head` does. Nothing more may be written, not even at exit.
            _discard_stdout()
            ctx.exit(_BROKEN_PIPE)
        except KeyboardInterrupt:
            print("pystack: interrupted", file=sys.stderr)
            ctx.exit(_INTERRUPTED)
        except OSError as error:
            _discard_stdout()
            where = f" {error.filename}" if error.filename else ""
            failure = SystemFailure(
                f"cannot read or write{where}: {error.strerror or error}", errno=error.errno
            )
        except ImportError as error:
            failure = PystackError(
                f"this installation of pystack is not complete: {error}",
                hint="Install it again; `python -m pystack` in a source tree runs that tree.",
            )
        _tell(failure, settings_of(ctx).verbosity)
        ctx.exit(failure.exit_code)


@click.group(cls=LazyGroup, context_settings=HELP_FLAGS)
@click.version_option(__version__, "--version", prog_name="pystack", message="%(prog)s %(version)s")
@common_options
def cli() -> None:
    """Show where a Python process is: now (dump), when it died (core), and over time (record).

    It is read from outside: nothing is written to it, no code runs in it, and it is never left
    stopped.
    """


def main() -> None:
    """The entry point."""
    cli(prog_name="pystack")


def _tell(error: PystackError, verbosity: int) -> None:
    """What happened and what to do: one sentence each, and no traceback unless asked for."""
    from pystack.render.escape import escape

    print(f"pystack: {escape(str(error))}.", file=sys.stderr)
    if error.hint:
        print(escape(error.hint), file=sys.stderr)
    if verbosity:
        address = None if error.address is None else hex(error.address)
        fields = {"pid": error.pid, "address": address, "size": error.size}
        known = [f"{name} {value}" for name, value in fields.items() if value is not None]
        print(f"({', '.join([type(error).__name__, *known])})", file=sys.stderr)
    if verbosity > 1:
        import traceback

        traceback.print_exception(error)


def _diagnosed(error: PystackError) -> PystackError:
    """Adds the cause to a refusal that reached us without one."""
    if isinstance(error, PermissionDenied) and error.cause is None and error.pid is not None:
        from pystack import diagnosis

        return diagnosis.explain(error, error.pid, stop=True)
    return error


def _discard_stdout() -> None:
    import os

    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):
        pass
