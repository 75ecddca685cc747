"""The part of a recording that is shown. A recording contains the data for all views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pystack.sampling import SampleState

from .track import Run

#: Of threads. wall: all time; cpu: time on a CPU; gil: time with the GIL; runnable: time without a CPU in
#: which the thread was ready to run; waits: time in which a thread waited for something else, such as a lock.
ThreadMode = Literal["wall", "cpu", "gil", "runnable", "waits"]
MODES: tuple[ThreadMode, ...] = get_args(ThreadMode)

#: tasks: all time of the tasks of event loops, in place of threads: see `Recording.in_mode`.
Mode = Literal[ThreadMode, "tasks"]
ALL_MODES: tuple[Mode, ...] = (*MODES, "tasks")

#: What a mode is the time of.
MODE_WORDS: dict[Mode, str] = {
    "wall": "time",
    "cpu": "CPU time",
    "gil": "time with the GIL",
    "runnable": "time without a CPU",
    "waits": "time of waiting",
    "tasks": "time of tasks",
}


def whole_of(mode: Mode) -> str:
    """What all of the time of a mode is, in a report."""
    return "time of all tasks" if mode == "tasks" else f"{MODE_WORDS[mode]} of all threads"


Granularity = Literal["function", "line"]

_KNOWN: dict[Mode, int] = {
    "wall": 0,
    "cpu": SampleState.CPU_KNOWN,
    "gil": SampleState.GIL_KNOWN,
    "runnable": SampleState.CPU_KNOWN,
    "waits": SampleState.CPU_KNOWN,
    "tasks": 0,
}


@dataclass(frozen=True, slots=True)
class View:
    """The part of a recording that exporters write."""

    mode: Mode = "wall"
    granularity: Granularity = "function"
    threads: bool = False  # threads, and processes if there are several, as root frames
    full_filenames: bool = (
        False  # whole paths in the names of frames, not only what tells them apart
    )
    source: bool = True  # source lines, in formats that have them


DEFAULT_VIEW = View()


def time_in_mode(mode: Mode, run: Run) -> int:
    """How much of the run's time belongs to the mode, in nanoseconds."""
    if mode == "cpu":
        return run.cpu_ns
    if mode == "runnable":
        return run.runnable_ns
    if mode == "waits":
        is_blocked = run.state & (SampleState.CPU_KNOWN | SampleState.ON_CPU)
        return run.weight_ns if is_blocked == SampleState.CPU_KNOWN else 0
    if mode == "gil" and not run.state & SampleState.HOLDS_GIL:
        return 0
    return run.weight_ns


def was_measured(mode: Mode, states: int) -> bool:
    """Whether the mode was measured, by the union of the state bits of all samples."""
    return states & _KNOWN[mode] == _KNOWN[mode]


def state_words(state: int) -> dict[str, str]:
    """What was measured of a thread, by the names that formats with labels give it."""
    words = {}
    if state & SampleState.CPU_KNOWN:
        words["state"] = "running" if state & SampleState.ON_CPU else "off CPU"
    if state & SampleState.GIL_KNOWN:
        holds, waits = state & SampleState.HOLDS_GIL, state & SampleState.WAITS_FOR_GIL
        words["gil"] = "held" if holds else "waited" if waits else "released"
    return words
