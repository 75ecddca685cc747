"""Turns what a command raises into a report and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pystack.cli.declare import Settings
from pystack.cli.screen import print_status
from pystack.errors import OutOfMemory, PystackError, SystemFailure

INTERRUPTED = 128 + 2  # as the shell counts SIGINT
TERMINATED = 128 + 15  # and SIGTERM
_BROKEN_PIPE = 128 + 13  # and SIGPIPE


def reported(run: Callable[[], int | None], settings: Settings) -> int:
    """Runs a command and returns its exit status."""
    try:
        return run() or 0
    except PystackError as error:
        failure = error
    except BrokenPipeError:
        # The reader is gone, for example `head`. Nothing more may be written, not even at exit.
        _discard_stdout()
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print_status("interrupted")
        return INTERRUPTED
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

    report(failure, settings.verbosity)
    return failure.exit_code


def _discard_stdout() -> None:
    import os

    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):
        pass
