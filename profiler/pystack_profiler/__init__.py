"""The sampling profiler of pystack: where a Python process spends its time.

profile = record(4711, duration_s=10)
with open("out.json", "w") as stream:
    export_speedscope(profile, stream)
"""

from .aggregate import FunctionTotal, ThreadTotal, function_totals, thread_totals
from .exporters.folded import export as export_folded
from .exporters.speedscope import export as export_speedscope
from .profile import Metadata, Profile, Run, ThreadIdentity
from .recording import record

__all__ = [
    "FunctionTotal",
    "Metadata",
    "Profile",
    "Run",
    "ThreadIdentity",
    "ThreadTotal",
    "export_folded",
    "export_speedscope",
    "function_totals",
    "record",
    "thread_totals",
]
