"""`pystack core FILE [EXE]`: where every thread was when the core was written."""

from __future__ import annotations

import time

from pystack import api
from pystack.cli.declare import FileName, Settings, UsageProblem, argument, command, option
from pystack.cli.locals_options import locals_options
from pystack.cli.native_options import native_options
from pystack.cli.options import exhaustive_flag, memory_option
from pystack.cli.output import Output, output_options, write_snapshot
from pystack.cli.quantities import size
from pystack.cli.screen import StatusLine, print_status
from pystack.errors import NotPython
from pystack.render.words import build_id_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack.core_unpack import Progress
    from pystack.locals_options import Locals
    from pystack.model import CoreModule, Snapshot
    from pystack.native_options import Native

_PROGRESS_INTERVAL_S = 0.2


@command(
    "core",
    argument("file", type=FileName()),
    argument("executable", type=FileName(), metavar="[EXE]", required=False),
    option(
        "--lib-search-path",
        "search_paths",
        metavar="A:B",
        multiple=True,
        help="Look for the mapped files in these folders, by name. May be repeated.",
    ),
    option(
        "--lib-search-root",
        "search_root",
        metavar="DIR",
        type=FileName(),
        help="Look for them, and for source files, in this copy of the root of the machine or"
        " container where the core was written; other folders are searched recursively.",
    ),
    option(
        "--source-root",
        metavar="DIR",
        type=FileName(is_folder=True),
        help="Read source files below DIR with your own rights; / reads those of this machine. By"
        " default, only files that the author of the core may read are shown.",
    ),
    option(
        "--max-unpacked",
        type=size,
        metavar="SIZE",
        help="Unpack a compressed core to at most this size: 500M, 20G. Default: 200 times the size of"
        " FILE or 2G, whichever is more.",
    ),
    exhaustive_flag,
    output_options,
    native_options,
    locals_options,
    memory_option,
)
def core(
    settings: Settings,
    /,
    file: str,
    executable: str | None,
    search_paths: tuple[str, ...],
    search_root: str | None,
    source_root: str | None,
    max_unpacked: int | None,
    exhaustive: bool,
    output: Output,
    native: Native | None,
    variables: Locals | None,
    max_memory: int | None,
) -> int:
    """Show where every Python thread was when the core FILE was written.

    FILE may be compressed with gzip, zstd, lz4 or xz. EXE is the program that ran, if the file that
    the core names is missing here or differs.

    If there is no Python in it, the native stacks of all threads are shown, and the exit status is 3.
    """
    folders = [folder for path in search_paths for folder in path.split(":") if folder]
    if folders and search_root is not None:
        raise UsageProblem("--lib-search-path and --lib-search-root exclude each other.")

    snapshot = api.dump_core(
        file,
        executable=executable,
        library_folders=folders,
        library_root=search_root,
        exhaustive=exhaustive,
        tasks=output.wants_tasks,
        locals=variables,
        native=native,
        require_python=False,
        max_unpacked=max_unpacked,
        progress=_progress(),
        max_memory=max_memory,
    )
    if settings.verbosity:
        _print_modules(snapshot)

    sources = None
    if snapshot.core is not None and output.wants_sources:
        from pystack.render.source import SourceReader

        roots = [root for root in (source_root, search_root) if root is not None]
        sources = SourceReader.of_core(snapshot.core, roots)
    write_snapshot(snapshot, output, settings, sources)
    return 0 if snapshot.interpreters else NotPython.exit_code


def _print_modules(snapshot: Snapshot) -> None:
    """Prints every file that was mapped and what was found for it."""
    if snapshot.core is None:
        return
    for module in snapshot.core.modules:
        print_status(f"{module.begin:#x}-{module.end:#x} {module.path}: {_found(module)}")


def _found(module: CoreModule) -> str:
    in_core = f"the core has {build_id_text(module.core_build_id)}"
    if module.found_path is None:
        return f"missing ({in_core})"
    if module.status == "found":
        place = "" if module.found_path == module.path else f" at {module.found_path}"
        return f"found{place} ({build_id_text(module.file_build_id)})"
    in_file = f"{module.found_path} has {build_id_text(module.file_build_id)}"
    return f"mismatched ({in_file}, {in_core})"


def _progress() -> Progress | None:
    """Shows on a terminal, a few times per second, how much of a compressed core is unpacked."""
    line = StatusLine()
    if not line.is_shown:
        return None
    shown = time.monotonic()

    def show(read: int, total: int, unpacked: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if read >= total:
            line.wipe()
        elif now - shown >= _PROGRESS_INTERVAL_S:
            shown = now
            percent = 100 * read // total
            line.show(f"pystack: unpacking, {percent} % ({unpacked >> 20} MiB)")

    return show
