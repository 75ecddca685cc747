"""The line that tells how a recording goes, on terminals only."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import TextIO

from .recording import Progress
from .stats import achieved_rate_hz, coverage, format_rate, format_share, lost_samples, plural

_INTERVAL_S = 0.5
_CLEAR_LINE = "\r\x1b[K"


class ProgressLine:
    """Rewrites one line of `stream` a few times a second, and wipes it at the end."""

    def __init__(self, stream: TextIO, pid: int, duration_s: float | None, *, shown: bool) -> None:
        self._stream = stream
        self._shown = shown and stream.isatty()
        self._pid = pid
        self._of_duration = f" of {duration_s:.4g} s" if duration_s is not None else ""
        self._next_s = 0.0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()

    def update(self, progress: Progress) -> None:
        if not self._shown or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _INTERVAL_S
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(_CLEAR_LINE + self._text(progress)[:width])
        self._stream.flush()

    def _text(self, progress: Progress) -> str:
        stats = progress.stats
        covered = coverage(stats)
        parts = [
            f"Recording {self._pid}: {progress.elapsed_s:.0f} s{self._of_duration}",
            format_rate(achieved_rate_hz(stats)),
            plural(stats["taken"], "sample"),
            plural(progress.threads, "thread"),
            plural(lost_samples(stats), "error"),
        ]
        if progress.processes > 1:
            parts.insert(3, f"{progress.processes} processes")
        if covered is not None:
            parts.append(f"coverage {format_share(covered, 1)}")
        return f"{', '.join(parts)} (Ctrl-C ends)"
