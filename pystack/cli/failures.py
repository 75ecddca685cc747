"""Reports exceptions: what failed and what to do."""

from __future__ import annotations

from pystack.cli.hints import in_options
from pystack.cli.screen import print_lines, print_status, trace_lines
from pystack.errors import PermissionDenied, PystackError


def report(error: PystackError, verbosity: int) -> None:
    """Prints one sentence each; a traceback only on request."""
    error = _diagnosed(error)
    print_status(f"{error}.")
    if error.hint:
        print_lines([in_options(error.hint)])
    if verbosity:
        address = None if error.address is None else hex(error.address)
        fields = {"pid": error.pid, "address": address, "size": error.size}
        known = [f"{name} {value}" for name, value in fields.items() if value is not None]
        print_lines([f"({', '.join([type(error).__name__, *known])})"])
    if verbosity > 1:
        print_lines(trace_lines(error))


def _diagnosed(error: PystackError) -> PystackError:
    """Adds the cause to a PermissionDenied without one."""
    if isinstance(error, PermissionDenied) and error.cause is None and error.pid is not None:
        from pystack import diagnosis

        return diagnosis.explain(error, error.pid, stop=True)
    return error
