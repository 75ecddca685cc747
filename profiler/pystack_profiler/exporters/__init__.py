"""The file formats: one function each, which writes a recording to a stream of text or bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..profile import Recording
from ..view import DEFAULT_VIEW, View
from . import callgrind, chrome_trace, firefox, folded, html, otlp, pprof, speedscope, svg


class Export(Protocol):
    """Writes a recording. The stream is a `BinaryIO` if the format is binary, else a `TextIO`."""

    def __call__(self, recording: Recording, stream: Any, view: View = DEFAULT_VIEW) -> None: ...


_REPORTED_FUNCTIONS = 15


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


def _export_file(recording: Recording, stream: Any, view: View = DEFAULT_VIEW) -> None:
    # Slow to import, and not in every build of Python: it needs SQLite.
    from ..recording_file import export

    export(recording, stream, view)


def _export_report(recording: Recording, stream: Any, view: View = DEFAULT_VIEW) -> None:
    from ..report import overview, overview_text  # rarely written, and slow to import

    lines = overview_text(overview(recording, view, _REPORTED_FUNCTIONS))
    stream.write("".join(f"{line}\n" for line in lines))


HTML = Format(
    "html",
    ("flamegraph",),
    (".html", ".htm"),
    html.export,
    "open {path} in a browser",
    holds_command_line=True,
)
SPEEDSCOPE = Format(
    "speedscope",
    ("json",),
    (".json",),
    speedscope.export,
    "npx speedscope {path}, or drag it to https://www.speedscope.app (nothing is uploaded)",
    holds_command_line=True,
)
FOLDED = Format(
    "folded",
    ("collapsed", "raw"),
    (".txt", ".folded", ".collapsed"),
    folded.export,
    "flamegraph.pl {path} > flame.svg, or drag it to https://www.speedscope.app",
    holds_command_line=False,
)

PYSTACK = Format(
    "pystack",
    ("recording",),
    (".pystack",),
    _export_file,
    "pystack report {path}, or pystack convert {path} -o out.html",
    holds_command_line=True,
    is_binary=True,
)

SVG = Format(
    "svg",
    (),
    (".svg",),
    svg.export,
    "open {path} in a browser, or put it into a document",
    holds_command_line=True,
)
PPROF = Format(
    "pprof",
    (),
    (".pb.gz", ".pprof"),
    pprof.export,
    "go tool pprof -http=: {path}",
    holds_command_line=True,
    is_binary=True,
)

FIREFOX = Format(
    "firefox",
    ("gecko",),
    (".json.gz", ".firefox.json"),
    firefox.export,
    "drag {path} to https://profiler.firefox.com (nothing is uploaded)",
    holds_command_line=True,
    gzip_suffixes=(".json.gz",),
)
OTLP = Format(
    "otlp",
    (),
    (".otlp",),
    otlp.export,
    "POST {path} to /v1development/profiles of an OpenTelemetry collector",
    holds_command_line=True,
    is_binary=True,
)

CHROME_TRACE = Format(
    "chrometrace",
    ("trace",),
    (".trace.json", ".trace.json.gz"),
    chrome_trace.export,
    "drag {path} to https://ui.perfetto.dev (nothing is uploaded)",
    holds_command_line=True,
    gzip_suffixes=(".trace.json.gz",),
)
CALLGRIND = Format(
    "callgrind",
    (),
    (".callgrind",),
    callgrind.export,
    "kcachegrind {path}",
    holds_command_line=True,
)
REPORT = Format(
    "report",
    (),
    (".report",),
    _export_report,
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
