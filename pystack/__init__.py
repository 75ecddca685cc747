"""Shows where a Python process is, read from outside: its threads, their stacks and the GIL.

    import pystack

    snapshot = pystack.dump(4711)
    for thread in snapshot.threads:
        print(thread.name, [frame.name for frame in thread.frames])

`pystack.dump_core("core.4711")` does the same for a process that died.

The target is never written to, runs no code for pystack, and is never left stopped.
`pystack.errors` lists the exceptions.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack import errors as errors
    from pystack.api import Sampler as Sampler
    from pystack.api import dump as dump
    from pystack.api import dump_core as dump_core
    from pystack.api import open_sampler as open_sampler
    from pystack.debuginfod import Debuginfod as Debuginfod
    from pystack.errors import PystackError as PystackError
    from pystack.locals_options import Locals as Locals
    from pystack.model import CoreDetails as CoreDetails
    from pystack.model import CoreModule as CoreModule
    from pystack.model import Frame as Frame
    from pystack.model import Gap as Gap
    from pystack.model import Interpreter as Interpreter
    from pystack.model import NativeFrame as NativeFrame
    from pystack.model import Snapshot as Snapshot
    from pystack.model import Thread as Thread
    from pystack.model import Variable as Variable
    from pystack.native_options import Native as Native
    from pystack.waits import Holder as Holder
    from pystack.waits import Wait as Wait

__version__ = "0.2.0"

if not any(name.startswith("_core.") and name.endswith(".so") for name in os.listdir(__path__[0])):  # noqa: PTH208
    # A command that runs from the root of the source tree finds this folder first, but the extension
    # is in the installed package.
    import sys

    __path__ += [
        folder
        for entry in sys.path
        if (folder := os.path.join(entry, __name__)) not in __path__ and os.path.isdir(folder)  # noqa: PTH112, PTH118
    ]

# Imported at first use, so that `pystack dump` starts fast.
_LAZY = {
    "errors": "pystack.errors",
    "Sampler": "pystack.api",
    "dump": "pystack.api",
    "dump_core": "pystack.api",
    "open_sampler": "pystack.api",
    "PystackError": "pystack.errors",
    "Debuginfod": "pystack.debuginfod",
    "CoreDetails": "pystack.model",
    "CoreModule": "pystack.model",
    "Frame": "pystack.model",
    "Gap": "pystack.model",
    "Holder": "pystack.waits",
    "Interpreter": "pystack.model",
    "Locals": "pystack.locals_options",
    "Native": "pystack.native_options",
    "NativeFrame": "pystack.model",
    "Snapshot": "pystack.model",
    "Thread": "pystack.model",
    "Variable": "pystack.model",
    "Wait": "pystack.waits",
}

__all__ = [
    "CoreDetails",
    "CoreModule",
    "Debuginfod",
    "Frame",
    "Gap",
    "Holder",
    "Interpreter",
    "Locals",
    "Native",
    "NativeFrame",
    "PystackError",
    "Sampler",
    "Snapshot",
    "Thread",
    "Variable",
    "Wait",
    "__version__",
    "dump",
    "dump_core",
    "errors",
    "open_sampler",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(_LAZY[name])
    value: object = module if name == "errors" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
