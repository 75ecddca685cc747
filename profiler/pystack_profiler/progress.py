"""What is said while a recording runs: the progress line on a terminal, else its first words; advice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO

from pystack.cli.screen import StatusLine, print_status

from .driver import Progress
from .settings import Settings
from .stats import achieved_rate_hz, coverage, format_rate, format_share, lost_samples, plural

_INTERVAL_S = 0.5
#: What a narrow terminal leaves out, the least important first.
_DISPENSABLE = ("coverage", "threads", "rate", "processes", "samples", "errors")

_ADVICE_AFTER_S = 1.0
_MOST_LOST = 0.5  # of the samples; more calls for advice

_RATE_IS_KNOWN_AFTER_S = 3.0
_NOTEWORTHY = 0.01  # of the ticks; a few are skipped after something expensive


class ProgressLine:
    """Rewrites one line of `stream` a few times per second, and clears it at the end.

    If `stream` is not a terminal, prints one line at the begin instead, unless the recording ends by
    itself: whoever started it must know how to end it.
    """

    def __init__(self, stream: TextIO, pid: int, duration_s: float | None, *, shown: bool) -> None:
        self._line = StatusLine(stream, shown=shown)
        self._pid = pid
        self._says_how_to_end = shown and not self._line.is_shown and duration_s is None
        self._of_duration = f" of {duration_s:.4g} s" if duration_s is not None else ""
        self._next_s = 0.0

    def __enter__(self) -> ProgressLine:
        if self._says_how_to_end:
            print_status(f"recording {self._pid} (Ctrl-C or SIGINT to finish)")
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
        self._line.show(*self._texts(progress))

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._line.wipe()
        print_status(text)

    def _texts(self, progress: Progress) -> Iterator[str]:
        """The whole line, then shorter and shorter ones."""
        stats = progress.stats
        covered = coverage(stats)
        parts = {
            "time": f"Recording {self._pid}: {progress.elapsed_s:.0f} s{self._of_duration}",
            "rate": format_rate(achieved_rate_hz(stats)),
            "samples": plural(stats["taken"], "sample"),
            "processes": f"{progress.processes} processes" if progress.processes > 1 else "",
            "threads": plural(progress.threads, "thread"),
            "errors": plural(lost_samples(stats), "error"),
            "coverage": "" if covered is None else f"coverage {format_share(covered, 1)}",
        }
        for left_out in ("", *_DISPENSABLE):
            parts.pop(left_out, None)
            yield f"{', '.join(filter(None, parts.values()))} (Ctrl-C to finish)"


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
                f"Warning: {share}, because the stacks change while they are read, and threads are not"
                " stopped for it (--no-block, or not permitted)"
            )
        else:
            self._say(f"Warning: {share}: the memory of the process could not be read")


class RateAdvice:
    """Says once that the rate is lowered to keep the recorder within its share of a CPU."""

    def __init__(self, say: Callable[[str], None], settings: Settings) -> None:
        self._say = say
        self._settings = settings
        self._is_said = False

    def update(self, progress: Progress) -> None:
        stats = progress.stats
        if self._is_said or progress.elapsed_s < _RATE_IS_KNOWN_AFTER_S:
            return
        if stats["throttled"] <= _NOTEWORTHY * (stats["ticks"] + stats["missed"]):
            return
        self._is_said = True
        share = format_share(self._settings.max_cpu_share, 1)
        self._say(
            f"rate lowered to about {format_rate(achieved_rate_hz(stats))} of"
            f" {format_rate(self._settings.rate_hz)}, so that recording uses at most {share} of a CPU"
            " (--max-cpu); weights of samples stay true"
        )
