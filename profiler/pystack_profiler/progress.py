"""The progress line of a recording, shown on terminals only."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

from pystack.cli.screen import StatusLine

from .driver import Progress
from .stats import achieved_rate_hz, coverage, format_rate, format_share, lost_samples, plural

_INTERVAL_S = 0.5


class ProgressLine:
    """Rewrites one line of `stream` a few times per second, and clears it at the end."""

    def __init__(self, stream: TextIO, pid: int, duration_s: float | None, *, shown: bool) -> None:
        self._line = StatusLine(stream, shown=shown)
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
        self._line.wipe()

    def update(self, progress: Progress) -> None:
        if not self._line.is_shown or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _INTERVAL_S
        self._line.show(self._text(progress))

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
        return f"{', '.join(parts)} (Ctrl-C to finish)"
