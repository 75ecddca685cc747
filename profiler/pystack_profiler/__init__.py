"""pystack's sampling profiler: where a Python process spends its time.

recording = record(4711, duration_s=10)
with open("out.html", "w", encoding="utf-8") as stream:
    export_html(recording, stream, View(mode="cpu"))

`with record() as r:` records the calling process. docs/api.md has examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aggregate import BlamedStack as BlamedStack
    from .aggregate import FunctionTotal as FunctionTotal
    from .aggregate import ThreadTotal as ThreadTotal
    from .aggregate import blamed_stacks as blamed_stacks
    from .aggregate import function_totals as function_totals
    from .aggregate import thread_totals as thread_totals
    from .driver import Progress as Progress
    from .exporters.firefox import export as export_firefox
    from .exporters.folded import export as export_folded
    from .exporters.html import export as export_html
    from .exporters.otlp import export as export_otlp
    from .exporters.pprof import export as export_pprof
    from .exporters.speedscope import export as export_speedscope
    from .exporters.svg import export as export_svg
    from .profile import ProcessFacts as ProcessFacts
    from .profile import Profile as Profile
    from .profile import Recording as Recording
    from .record_call import RecordingAborted as RecordingAborted
    from .record_call import record as record
    from .recorded_block import RecordedBlock as RecordedBlock
    from .recorder import Recorder as Recorder
    from .track import Run as Run
    from .track import ThreadIdentity as ThreadIdentity
    from .view import View as View

# Imported at first use, so that the plugin for pytest costs nothing where it is not used.
_LAZY = {
    "BlamedStack": (".aggregate", "BlamedStack"),
    "FunctionTotal": (".aggregate", "FunctionTotal"),
    "ThreadTotal": (".aggregate", "ThreadTotal"),
    "blamed_stacks": (".aggregate", "blamed_stacks"),
    "function_totals": (".aggregate", "function_totals"),
    "thread_totals": (".aggregate", "thread_totals"),
    "Progress": (".driver", "Progress"),
    "export_firefox": (".exporters.firefox", "export"),
    "export_folded": (".exporters.folded", "export"),
    "export_html": (".exporters.html", "export"),
    "export_otlp": (".exporters.otlp", "export"),
    "export_pprof": (".exporters.pprof", "export"),
    "export_speedscope": (".exporters.speedscope", "export"),
    "export_svg": (".exporters.svg", "export"),
    "ProcessFacts": (".profile", "ProcessFacts"),
    "Profile": (".profile", "Profile"),
    "Recording": (".profile", "Recording"),
    "RecordingAborted": (".record_call", "RecordingAborted"),
    "record": (".record_call", "record"),
    "RecordedBlock": (".recorded_block", "RecordedBlock"),
    "Recorder": (".recorder", "Recorder"),
    "Run": (".track", "Run"),
    "ThreadIdentity": (".track", "ThreadIdentity"),
    "View": (".view", "View"),
}

__all__ = [
    "BlamedStack",
    "FunctionTotal",
    "ProcessFacts",
    "Profile",
    "Progress",
    "RecordedBlock",
    "Recorder",
    "Recording",
    "RecordingAborted",
    "Run",
    "ThreadIdentity",
    "ThreadTotal",
    "View",
    "blamed_stacks",
    "export_firefox",
    "export_folded",
    "export_html",
    "export_otlp",
    "export_pprof",
    "export_speedscope",
    "export_svg",
    "function_totals",
    "load_ipython_extension",
    "record",
    "thread_totals",
]


def load_ipython_extension(ipython: Any) -> None:
    """For `%load_ext pystack_profiler`: defines the magic `%%pystack`."""
    from .ipython_magic import define

    define(ipython)


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY[name]
    value: object = getattr(import_module(module, __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
