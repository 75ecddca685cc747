"""pystack's sampling profiler: where a Python process spends its time.

recording = record(4711, duration_s=10)
with open("out.html", "w", encoding="utf-8") as stream:
    export_html(recording, stream, View(mode="cpu"))

`Recorder` records while the caller works. docs/api.md has examples.
"""

from .aggregate import (
    BlamedStack,
    FunctionTotal,
    ThreadTotal,
    blamed_stacks,
    function_totals,
    thread_totals,
)
from .driver import Progress
from .exporters.firefox import export as export_firefox
from .exporters.folded import export as export_folded
from .exporters.html import export as export_html
from .exporters.otlp import export as export_otlp
from .exporters.pprof import export as export_pprof
from .exporters.speedscope import export as export_speedscope
from .exporters.svg import export as export_svg
from .profile import ProcessFacts, Profile, Recording
from .recorder import Recorder, record
from .track import Run, ThreadIdentity
from .view import View

__all__ = [
    "BlamedStack",
    "FunctionTotal",
    "ProcessFacts",
    "Profile",
    "Progress",
    "Recorder",
    "Recording",
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
    "record",
    "thread_totals",
]
