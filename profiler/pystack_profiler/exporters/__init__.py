"""The file formats: one function each, which writes a recording to a stream of text or bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Protocol

from ..profile import Recording
from ..view import DEFAULT_VIEW, View


class Export(Protocol):
    """Writes a recording. The stream is a `BinaryIO` if the format is binary, else a `TextIO`."""

    def __call__(self, recording: Recording, stream: Any, view: View = DEFAULT_VIEW) -> None: ...


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    aliases: tuple[str, ...]
    suffixes: tuple[str, ...]  # the first is used for default names
    export: Export
    how_to_open: str  # `{path}` stands for the file
    holds_command_line: bool  # the target's command line, which may contain secrets
    is_binary: bool = False  # the exporter writes bytes, not text
    gzip_suffixes: tuple[str, ...] = ()  # with these, what the exporter writes is compressed


@dataclass(frozen=True, slots=True)
class ModuleExport:
    """The function `export` of a module, which is imported when it is called: a run writes one format."""

    module: str
    shows_tasks: bool = False  # beside the threads; else the mode "tasks" shows them in their place

    def __call__(self, recording: Recording, stream: Any, view: View = DEFAULT_VIEW) -> None:
        export: Export = import_module(self.module, __package__).export
        if not self.shows_tasks:
            recording, view = with_tasks_as_threads(recording, view)
        export(recording, stream, view)


def with_tasks_as_threads(recording: Recording, view: View) -> tuple[Recording, View]:
    """In the mode "tasks", the tasks in the threads' place, for exporters that know threads alone."""
    if view.mode != "tasks":
        return recording, view
    return recording.in_mode(view.mode), replace(view, mode="wall")


HTML = Format(
    "html",
    ("flamegraph",),
    (".html", ".htm"),
    ModuleExport(".html", shows_tasks=True),
    "open {path} in a browser",
    holds_command_line=True,
)
SPEEDSCOPE = Format(
    "speedscope",
    ("json",),
    (".json",),
    ModuleExport(".speedscope"),
    "npx speedscope {path}, or drag it to https://www.speedscope.app (nothing is uploaded)",
    holds_command_line=True,
)
FOLDED = Format(
    "folded",
    ("collapsed", "raw"),
    (".txt", ".folded", ".collapsed"),
    ModuleExport(".folded"),
    "flamegraph.pl {path} > flame.svg, or drag it to https://www.speedscope.app",
    holds_command_line=False,
)

PYSTACK = Format(
    "pystack",
    ("recording",),
    (".pystack",),
    ModuleExport(
        "..recording_file", shows_tasks=True
    ),  # not in every build of Python: it needs SQLite
    "pystack report {path}, or pystack convert {path} -o out.html",
    holds_command_line=True,
    is_binary=True,
)

SVG = Format(
    "svg",
    (),
    (".svg",),
    ModuleExport(".svg"),
    "open {path} in a browser, or put it into a document",
    holds_command_line=True,
)
PPROF = Format(
    "pprof",
    (),
    (".pb.gz", ".pprof"),
    ModuleExport(".pprof"),
    "go tool pprof -http=: {path}",
    holds_command_line=True,
    is_binary=True,
)

FIREFOX = Format(
    "firefox",
    ("gecko",),
    (".json.gz", ".firefox.json"),
    ModuleExport(".firefox"),
    "drag {path} to https://profiler.firefox.com (nothing is uploaded)",
    holds_command_line=True,
    gzip_suffixes=(".json.gz",),
)
OTLP = Format(
    "otlp",
    (),
    (".otlp",),
    ModuleExport(".otlp"),
    "POST {path} to /v1development/profiles of an OpenTelemetry collector",
    holds_command_line=True,
    is_binary=True,
)

CHROME_TRACE = Format(
    "chrometrace",
    ("trace",),
    (".trace.json", ".trace.json.gz"),
    ModuleExport(".chrome_trace"),
    "drag {path} to https://ui.perfetto.dev (nothing is uploaded)",
    holds_command_line=True,
    gzip_suffixes=(".trace.json.gz",),
)
CALLGRIND = Format(
    "callgrind",
    (),
    (".callgrind",),
    ModuleExport(".callgrind"),
    "kcachegrind {path}",
    holds_command_line=True,
)
REPORT = Format(
    "report",
    (),
    (".report",),
    ModuleExport(".report_text", shows_tasks=True),
    "less {path}",
    holds_command_line=True,
)

FORMATS = (
    *(HTML, SPEEDSCOPE, FOLDED, SVG, PPROF, FIREFOX, OTLP, CHROME_TRACE, CALLGRIND),
    *(REPORT, PYSTACK),
)
#: Suffixes of formats that other profilers write, and of compressed files.
FOREIGN_SUFFIXES = (
    *(".png", ".pdf", ".pb", ".prof", ".pstats", ".perf", ".data"),
    *(".gz", ".bz2", ".xz", ".zst", ".zip"),
)
DEFAULT = HTML
DEFAULT_ON_STDOUT = SPEEDSCOPE


def by_name(name: str) -> Format | None:
    return next((known for known in FORMATS if name in (known.name, *known.aliases)), None)


def by_suffix(path: str) -> Format | None:
    """The format with the longest suffix that the path ends with."""
    lowered = path.lower()
    fitting = [
        (len(suffix), known)
        for known in FORMATS
        for suffix in known.suffixes
        if lowered.endswith(suffix)
    ]
    return max(fitting, key=lambda one: one[0])[1] if fitting else None


def is_foreign(path: str) -> bool:
    """Whether the suffix of the path belongs to a format that is not written here."""
    return by_suffix(path) is None and path.lower().endswith(FOREIGN_SUFFIXES)
