"""What is said while a recording runs: the progress line, on terminals only, and advice."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from pystack.cli.screen import StatusLine, print_status

from .driver import Progress
from .stats import achieved_rate_hz, coverage, format_rate, format_share, lost_samples, plural

_INTERVAL_S = 0.5
_ADVICE_AFTER_S = 1.0
_MOST_LOST = 0.5  # of the samples; more calls for advice


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

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._line.wipe()
        print_status(text)

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


class LossAdvice:
    """Says once, as soon as it shows, that most samples are lost, and what would help."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._is_said = False

    def update(self, progress: Progress) -> None:
        stats = progress.stats
        lost = stats["torn"] + stats["failed"]
        if self._is_said or progress.elapsed_s < _ADVICE_AFTER_S:
            return
        if not stats["attempted"] or lost < _MOST_LOST * stats["attempted"]:
            return
        self._is_said = True
        share = f"{format_share(lost, stats['attempted'])} of the samples are lost"
        if progress.recording.stops_target:
            self._say(f"Warning: {share}: the process could not be stopped and read in time")
        elif stats["torn"] >= stats["failed"]:
            self._say(
                f"Warning: {share}, because the stacks change while they are read;"
                " --block stops the process for each sample"
            )
        else:
            self._say(f"Warning: {share}: the memory of the process could not be read")
