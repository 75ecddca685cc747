"""The options for native frames. A command receives them as one argument, `native`."""

from __future__ import annotations

import os

from pystack.cli.declare import UsageProblem, option, option_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack.native_options import Native


def native_of(
    *,
    native: bool,
    native_all: bool,
    native_last: bool,
    debuginfod_urls: tuple[str, ...],
    no_debuginfod: bool,
) -> Native | None:
    """Returns None if no native frames are requested."""
    if not (native or native_all or native_last):
        if debuginfod_urls:
            raise UsageProblem("--debuginfod needs --native.")
        return None
    from pystack.native_options import Native

    if debuginfod_urls and no_debuginfod:
        raise UsageProblem("--debuginfod and --no-debuginfod exclude each other.")
    debuginfod = None
    if debuginfod_urls or (not no_debuginfod and os.environ.get("DEBUGINFOD_URLS")):
        from pystack.cli.debuginfod import debuginfod_of

        debuginfod = debuginfod_of(debuginfod_urls)
    return Native(native_all, native_last, debuginfod)


#: Options for `native_of`.
NATIVE_OPTIONS = (
    option(
        "-n",
        "--native",
        is_flag=True,
        help="Show C, C++ and Rust frames merged with the Python frames. With -v, include the"
        " interpreter's own frames.",
    ),
    option(
        "--native-all",
        is_flag=True,
        help="Include threads that never ran Python code (implies --native).",
    ),
    option(
        "--native-last",
        is_flag=True,
        help="Show native frames only below the innermost Python frame (implies --native).",
    ),
    option(
        "--debuginfod",
        "debuginfod_urls",
        metavar="URL",
        multiple=True,
        help="With --native: download missing debug files from this server. May be repeated."
        " Default: the servers in DEBUGINFOD_URLS.",
    ),
    option(
        "--no-debuginfod",
        is_flag=True,
        help="Do not download debug files, even if DEBUGINFOD_URLS is set.",
    ),
)

native_options = option_group("native", native_of, NATIVE_OPTIONS)
