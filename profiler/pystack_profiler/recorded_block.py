"""`with record() as r:` for programs and notebooks: the recording of a block, and what it says."""

from __future__ import annotations

import html
import io
import os
from types import TracebackType

from pystack.errors import InvalidArgument

from . import exporters
from .profile import Recording
from .recorder import Recorder
from .report import overview, overview_text
from .sinks import FileSink
from .view import DEFAULT_VIEW, View

_FRAME_HEIGHT = 640  # pixels
_FUNCTIONS = 15


class RecordedBlock:
    """Records the calling process until the end of a `with` block.

        with record() as r:
            work()
        text = r.report()
        r.save("out.html")

    In a notebook, `r` as the last line of a cell shows the page. All of it can be called in the block as
    well, and then says what was recorded until then.
    """

    def __init__(self, recorder: Recorder) -> None:
        """`recorder` is not started yet."""
        self._recorder = recorder
        self._recording: Recording | None = None
        self._result: Recording | None = None  # once it is over
        self._is_over = False

    def __enter__(self) -> RecordedBlock:
        self._recording = self._recorder.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._recorder.__exit__(kind, error, traceback)
        finally:
            self._is_over = True

    @property
    def recording(self) -> Recording:
        """A copy of what was recorded until now, without the recorder's own thread.

        Raises `InvalidArgument` before the block.
        """
        if self._recording is None:
            raise InvalidArgument("nothing was recorded yet: use it in a with statement")
        if self._result is not None:
            return self._result
        copy = self._recording.snapshot()
        for profile in copy.profiles:
            profile.window.drop_thread(self._recorder.thread_id or 0)
        if self._is_over:
            self._result = copy
        return copy

    def report(self, view: View = DEFAULT_VIEW) -> str:
        """The functions and paths with most time, the threads, and what is missing, as text."""
        return "\n".join(overview_text(overview(self.recording, view, _FUNCTIONS)))

    def page(self, view: View = DEFAULT_VIEW) -> str:
        """The flame graph, as an HTML page that needs no other file."""
        stream = io.StringIO()
        exporters.HTML.export(self.recording, stream, view)
        return stream.getvalue()

    def save(self, path: str | os.PathLike[str], view: View = DEFAULT_VIEW) -> None:
        """Writes a file, whose suffix says its format: `.html`, `.json`, `.pystack`, ...

        Raises `InvalidArgument` for a suffix of no format, and OSError.
        """
        name = os.fspath(path)
        format = exporters.by_suffix(name)
        if format is None:
            suffixes = ", ".join(one.suffixes[0] for one in exporters.FORMATS)
            raise InvalidArgument(f"the suffix of {name} is not one of {suffixes}")
        FileSink(name, format, view).write(self.recording)

    def _repr_html_(self) -> str:
        """For notebooks. The page's scripts cannot reach the notebook."""
        return (
            f'<iframe srcdoc="{html.escape(self.page(), quote=True)}" sandbox="allow-scripts"'
            f' title="pystack" width="100%" height="{_FRAME_HEIGHT}" style="border: 0"></iframe>'
        )
