"""`pystack core FILE [EXE]`: where every thread was when the core was written."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from pystack import api
from pystack.cli.options import (
    HELP_FLAGS,
    common_options,
    locals_flags,
    locals_of,
    native_flags,
    native_of,
    settings_of,
)
from pystack.cli.output import output_flags, write_snapshot
from pystack.render.escape import escape

if TYPE_CHECKING:
    from pystack.core_unpack import Progress
    from pystack.model import CoreModule, Snapshot
    from pystack.render.source import SourceReader

_PROGRESS_INTERVAL_S = 0.2


@click.command("core", context_settings=HELP_FLAGS)
@click.argument("file", type=click.Path(readable=False))
@click.argument("executable", type=click.Path(readable=False), metavar="[EXE]", required=False)
@click.option(
    "--lib-search-path",
    "search_paths",
    metavar="A:B",
    multiple=True,
    help="Look for the mapped files in these folders, by name; may be repeated.",
)
@click.option(
    "--lib-search-root",
    "search_root",
    metavar="DIR",
    type=click.Path(readable=False),
    help="Look for them, and for source files, in this copy of the root of the machine or"
    " container where the core was written; other folders are searched recursively.",
)
@output_flags
@native_flags
@locals_flags
@common_options
@click.pass_context
def core(
    context: click.Context,
    /,
    file: str,
    executable: str | None,
    search_paths: tuple[str, ...],
    search_root: str | None,
    exhaustive: bool,
    as_json: bool,
    no_group: bool,
    no_source: bool,
    full: bool,
    native: bool,
    native_all: bool,
    native_last: bool,
    signatures: bool,
    debuginfod_urls: tuple[str, ...],
    no_debuginfod: bool,
    **flags: Any,
) -> None:
    """Show where every Python thread was when the core FILE was written.

    FILE may be compressed with gzip, zstd, lz4 or xz. EXE is the program that ran, where the file
    that the core names is not here or not the one.
    """
    folders = [folder for path in search_paths for folder in path.split(":") if folder]
    if folders and search_root is not None:
        raise click.UsageError("--lib-search-path and --lib-search-root exclude each other.")

    snapshot = api.dump_core(
        file,
        executable=executable,
        library_folders=folders,
        library_root=search_root,
        exhaustive=exhaustive,
        locals=locals_of(**flags),
        native=native_of(
            native=native,
            native_all=native_all,
            native_last=native_last,
            debuginfod_urls=debuginfod_urls,
            no_debuginfod=no_debuginfod,
        ),
        progress=_progress(),
    )
    settings = settings_of(context)
    if settings.verbosity:
        _tell_modules(snapshot)

    def open_sources() -> SourceReader:
        from pystack.render.source import CoreSourceReader

        return CoreSourceReader(snapshot.time_ns, search_root)

    write_snapshot(
        snapshot,
        settings,
        as_json=as_json,
        group=not no_group,
        full=full,
        signatures=signatures,
        open_sources=None if no_source else open_sources,
    )


def _tell_modules(snapshot: Snapshot) -> None:
    """Every file that was mapped, and what was found for it."""
    if snapshot.core is None:
        return
    for module in snapshot.core.modules:
        click.echo(
            f"pystack: {module.begin:#x}-{module.end:#x} {escape(module.path)}: {_found(module)}",
            err=True,
        )


def _found(module: CoreModule) -> str:
    in_core = f"in the core {_build_id(module.core_build_id)}"
    if module.found_path is None:
        return f"missing, {in_core}"
    place = "" if module.found_path == module.path else f" {escape(module.found_path)},"
    if module.status == "found":
        return f"found,{place} {_build_id(module.file_build_id)}"
    return f"mismatched,{place} {_build_id(module.file_build_id)}, {in_core}"


def _build_id(build_id: str | None) -> str:
    if build_id is None:
        return "build id unknown"
    return f"build id {escape(build_id)}" if build_id else "no build id"


def _progress() -> Progress | None:
    """Tells how far a compressed core is unpacked, on a terminal and not too often."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        return None
    told = time.monotonic()
    shown = False

    def tell(read: int, total: int, unpacked: int) -> None:
        nonlocal told, shown
        now = time.monotonic()
        if read >= total:
            if shown:
                stream.write("\r\x1b[K")
                stream.flush()
                shown = False
        elif now - told >= _PROGRESS_INTERVAL_S:
            told, shown = now, True
            percent = 100 * read // total
            stream.write(f"\rpystack: unpacking, {percent} % ({unpacked >> 20} MiB)\x1b[K")
            stream.flush()

    return tell
