"""What the keys of the screen ask for besides another view: a dump, and the recording so far as a file."""

from __future__ import annotations

import pystack
from pystack.errors import PystackError
from pystack.render.source import SourceReader
from pystack.render.text import render_text
from pystack.render.text_options import TextOptions

from .. import exporters
from ..output import expand
from ..profile import Recording
from ..sinks import FileSink
from ..stats import plural
from ..view import View


class Requests:
    """Each takes a while, so the screen calls it on another thread. Errors are texts."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.written: list[str] = []

    @property
    def default_file(self) -> str:
        return expand("pystack-%p-%t.html", self._recording.pid)

    def dump(self, pid: int) -> list[str]:
        """The lines of `pystack dump PID`."""
        sources = SourceReader.of_process(pid)
        try:
            snapshot = pystack.dump(pid)
        except PystackError as error:
            return [f"{error}.", *([error.hint] if error.hint else [])]
        return list(render_text(snapshot, TextOptions(color=False), sources))

    def write(self, pattern: str, view: View) -> str:
        """Writes everything since the begin to a file of the format that its name ends with. Returns
        what to say of it."""
        path = expand(pattern, self._recording.pid)
        format = exporters.by_suffix(path)
        if format is None:
            known = ", ".join(suffix for one in exporters.FORMATS for suffix in one.suffixes)
            return f"no format ends like {path}; known: {known}"
        try:
            so_far = self._recording.snapshot()
            sink = FileSink(path, format, view)
            sink.open()
            sink.write(so_far)
        except OSError as error:
            return f"cannot write {path}: {error.strerror}"
        self.written.append(path)
        return f"written: {path} ({plural(so_far.sample_count, 'sample')})"
