"""The lines that only a core has: how the process ended, and which of its files were found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pystack.model import CoreDetails, CoreModule, Snapshot
from pystack.render.escape import escape
from pystack.render.terminal import Palette
from pystack.render.text_options import TextOptions
from pystack.render.words import base_name, build_id_text, count, local_time, run_state

_MAX_REFUSED = 4


def core_lines(
    snapshot: Snapshot, core: CoreDetails, palette: Palette, options: TextOptions
) -> Iterator[str]:
    """The lines below the header."""
    cause = f"Cause: {escape(core.cause)}"
    yield palette.paint(palette.bad, cause) if core.signal is not None else cause
    terminating = core.terminating_tid
    if terminating is not None and all(thread.tid != terminating for thread in snapshot.threads):
        yield f"Received by thread {terminating}, which is not a Python thread (--native shows it)."
    yield f"Process: {', '.join(_process_facts(core))}"
    if snapshot.executable is not None:
        yield f"Executable: {escape(snapshot.executable)}"
    yield f"Written: {local_time(core.written_ns)}"
    yield from _refused_files(core, palette, full=options.full)
    yield from _missing_files(core, full=options.full)


def _refused_files(core: CoreDetails, palette: Palette, *, full: bool) -> Iterator[str]:
    refused = _by_weight(core, "mismatched")
    shown = refused if full else refused[:_MAX_REFUSED]
    for module in shown:
        yield palette.paint(
            palette.waiting,
            f"Warning: {escape(module.found_path or module.path)} was not used: it has"
            f" {build_id_text(module.file_build_id)}, but the core was written with"
            f" {build_id_text(module.core_build_id)}",
        )
    rest = len(refused) - len(shown)
    if rest:
        verb = "was" if rest == 1 else "were"
        yield palette.paint(
            palette.waiting,
            f"Warning: {count(rest, 'more file')} with a different build ID {verb} not used"
            " (-v lists all)",
        )


def _missing_files(core: CoreDetails, *, full: bool) -> Iterator[str]:
    missing = [escape(base_name(module.path)) for module in _by_weight(core, "missing")]
    if not missing:
        return
    names = missing if full else missing[:_MAX_REFUSED]
    more = len(missing) - len(names)
    listed = ", ".join(names + ([f"{more} more"] if more else []))
    files = count(len(_files(core.modules)), "mapped file")
    yield f"Missing: {len(missing)} of {files}: {listed} (-v lists them)"


def _process_facts(core: CoreDetails) -> Iterator[str]:
    for name, value in (("parent", core.ppid), ("uid", core.uid), ("gid", core.gid)):
        yield f"{name} {'unknown' if value is None else value}"
    if core.state is not None:
        yield run_state(core.state)
    if core.nice:
        yield f"niceness {core.nice}"


def _files(modules: Iterable[CoreModule]) -> list[CoreModule]:
    """One module per file: programs map some files more than once, also only parts of them, of which
    the core has no build ID."""
    files: dict[tuple[str, str | None], CoreModule] = {}
    for module in modules:
        files.setdefault((module.path, module.core_build_id), module)
    known = {path for path, build_id in files if build_id is not None}
    return [
        module
        for (path, build_id), module in files.items()
        if build_id is not None or path not in known
    ]


def _by_weight(core: CoreDetails, status: str) -> list[CoreModule]:
    """The modules with this status, the most important first: Python's own, then the others."""
    modules = _files(module for module in core.modules if module.status == status)
    return sorted(modules, key=lambda module: "python" not in base_name(module.path))
