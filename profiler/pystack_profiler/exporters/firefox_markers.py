"""The markers of the Firefox Profiler's format: stretches of time in which a thread was in a state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pystack.sampling import SampleState

from ..track import Run, Track
from .pieces import milliseconds

_OTHER, _GIL, _WAIT, _GC = "Other", "GIL", "Waiting", "Garbage collection"

#: Of frames and markers. One is grey: the default.
CATEGORIES: list[dict[str, Any]] = [
    {"name": name, "color": color, "subcategories": ["Other"]}
    for name, color in (
        (_OTHER, "grey"),
        ("Python", "yellow"),
        ("Library", "lightblue"),
        ("Native", "green"),
        ("Interpreter", "purple"),
        (_GC, "orange"),
        (_GIL, "red"),
        (_WAIT, "blue"),
    )
]
_CATEGORY_IDS = {category["name"]: number for number, category in enumerate(CATEGORIES)}


def _schema(name: str, label: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "tooltipLabel": label,
        "tableLabel": label,
        "chartLabel": label,
        "display": ["marker-chart", "marker-table", "timeline-overview"],
        "fields": [{"key": "samples", "label": "Samples", "format": "integer"}],
        "description": description,
    }


_INTERVAL = 1  # the phase of a marker with a begin and an end

#: Type, name and category of each kind.
_KINDS = {
    "gil": ("pystack-gil-wait", "GIL wait", _GIL),
    "wait": ("pystack-wait", "Off CPU", _WAIT),
    "gc": ("pystack-gc", "Garbage collection", _GC),
}

SCHEMA: list[dict[str, Any]] = [
    _schema("pystack-gil-wait", "GIL wait", "The thread waited for the GIL."),
    _schema(
        "pystack-wait",
        "Off CPU",
        "The thread neither ran nor was ready to run, and did not wait for the GIL.",
    ),
    _schema("pystack-gc", "Garbage collection", "The thread collected garbage."),
]


class MarkerTable:
    """The markers of one thread."""

    def __init__(self, string: Callable[[str], int]) -> None:
        """`string`: the index of a text."""
        self._string = string
        self._rows: list[tuple[int, int, str, int]] = []  # begin, end, kind, samples

    def __len__(self) -> int:
        return len(self._rows)

    def add_all(self, track: Track, base_ns: int) -> None:
        """Those of a track whose runs are in order. Times count from `base_ns`."""
        for kind, is_in in (("gil", _waits_for_gil), ("wait", _is_off_cpu), ("gc", _collects)):
            self._rows += [
                (begin_ns - base_ns, end_ns - base_ns, kind, samples)
                for begin_ns, end_ns, samples in _stretches(track.runs(), is_in)
            ]
        self._rows.sort()

    def columns(self) -> dict[str, Iterable[str]]:
        rows = self._rows
        return {
            "name": [str(self._string(_KINDS[kind][1])) for _, _, kind, _ in rows],
            "startTime": [milliseconds(begin_ns) for begin_ns, *_ in rows],
            "endTime": [milliseconds(end_ns) for _, end_ns, *_ in rows],
            "phase": [str(_INTERVAL)] * len(rows),
            "category": [str(_CATEGORY_IDS[_KINDS[kind][2]]) for _, _, kind, _ in rows],
            "data": [
                json.dumps({"type": _KINDS[kind][0], "samples": samples})
                for _, _, kind, samples in rows
            ],
        }


def _waits_for_gil(state: int) -> bool:
    return bool(state & SampleState.WAITS_FOR_GIL)


def _is_off_cpu(state: int) -> bool:
    measured = SampleState.CPU_KNOWN | SampleState.ON_CPU | SampleState.WAITS_FOR_GIL
    return state & measured == SampleState.CPU_KNOWN


def _collects(state: int) -> bool:
    return bool(state & SampleState.GC)


def _stretches(runs: Iterable[Run], is_in: Callable[[int], bool]) -> Iterator[tuple[int, int, int]]:
    """Begin, end and samples of each stretch of neighbouring runs whose state is in it."""
    begin_ns = end_ns = samples = 0
    for run in runs:
        if run.samples and is_in(run.state):
            if not samples:
                begin_ns = run.start_ns
            end_ns = run.start_ns + run.weight_ns
            samples += run.samples
        elif samples:
            yield begin_ns, end_ns, samples
            samples = 0
    if samples:
        yield begin_ns, end_ns, samples
