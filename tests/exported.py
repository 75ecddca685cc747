"""What all exporters make of a recording, to compare recordings by."""

from __future__ import annotations

import io

from pystack_profiler import exporters
from pystack_profiler.profile import Recording
from pystack_profiler.view import MODES, View


def exported(recording: Recording) -> dict[tuple[str, View], str | bytes]:
    """The content of each format in each mode, but recording files, which hold no view."""
    written: dict[tuple[str, View], str | bytes] = {}
    for known in exporters.FORMATS:
        if known is exporters.PYSTACK:
            continue
        for mode in MODES:
            for view in (View(mode), View(mode, "line", threads=True)):
                stream = io.BytesIO() if known.is_binary else io.StringIO()
                known.export(recording, stream, view)
                written[known.name, view] = stream.getvalue()
    return written
