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


def _schema(name: str, label: str, shown: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "tooltipLabel": label,
        "tableLabel": shown,
        "chartLabel": shown,
        "display": ["marker-chart", "marker-table", "timeline-overview"],
        "fields": [
            {"key": "reason", "label": "Reason", "format": "string"},
            {"key": "samples", "label": "Samples", "format": "integer"},
        ],
        "description": description,
    }


_INTERVAL = 1  # the phase of a marker with a begin and an end

#: Type, name and category of each kind.
_KINDS = {
    "gil": ("pystack-gil-wait", "GIL wait", _GIL),
    "wait": ("pystack-wait", "Off CPU", _WAIT),
    "gc": ("pystack-gc", "Garbage collection", _GC),
}

#: Bits that are looked at, and those of them that are set.
_STATES = {
    "gil": (SampleState.WAITS_FOR_GIL, SampleState.WAITS_FOR_GIL),
    "wait": (
        SampleState.CPU_KNOWN | SampleState.ON_CPU | SampleState.WAITS_FOR_GIL,
        SampleState.CPU_KNOWN,
    ),
    "gc": (SampleState.GC, SampleState.GC),
}

SCHEMA: list[dict[str, Any]] = [
    _schema("pystack-gil-wait", "GIL wait", "GIL wait", "The thread waited for the GIL."),
    _schema(
        "pystack-wait",
        "Off CPU",
        "{marker.data.reason}",
        "The thread neither ran nor was ready to run, and did not wait for the GIL.",
    ),
    _schema(
        "pystack-gc", "Garbage collection", "Garbage collection", "The thread collected garbage."
    ),
]


class MarkerTable:
    """The markers of one thread."""

    def __init__(self, string: Callable[[str], int]) -> None:
        """`string`: the index of a text."""
        self._string = string
        #: Begin, end, kind, reason and samples of each.
        self._rows: list[tuple[int, int, str, str, int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add_all(self, track: Track, base_ns: int, reason: Callable[[Run], str]) -> None:
        """Those of a track whose runs are in order. Times count from `base_ns`. `reason`: why a run is off
        the CPU."""

        def key_of(kind: str) -> Callable[[Run], str | None]:
            bits, wanted = _STATES[kind]
            return lambda run: (
                None if run.state & bits != wanted else reason(run) if kind == "wait" else ""
            )

        for kind in _KINDS:
            self._rows += [
                (begin_ns - base_ns, end_ns - base_ns, kind, why, samples)
                for begin_ns, end_ns, why, samples in _stretches(track.runs(), key_of(kind))
            ]
        self._rows.sort()

    def columns(self) -> dict[str, Iterable[str]]:
        rows = self._rows
        return {
            "name": [str(self._string(_KINDS[kind][1])) for _, _, kind, *_ in rows],
            "startTime": [milliseconds(begin_ns) for begin_ns, *_ in rows],
            "endTime": [milliseconds(end_ns) for _, end_ns, *_ in rows],
            "phase": [str(_INTERVAL)] * len(rows),
            "category": [str(_CATEGORY_IDS[_KINDS[kind][2]]) for _, _, kind, *_ in rows],
            "data": [
                json.dumps(
                    {
                        "type": _KINDS[kind][0],
                        **({"reason": why} if why else {}),
                        "samples": samples,
                    }
                )
                for _, _, kind, why, samples in rows
            ],
        }


def _stretches(
    runs: Iterable[Run], key_of: Callable[[Run], str | None]
) -> Iterator[tuple[int, int, str, int]]:
    """Begin, end, key and samples of each stretch of neighbouring runs with the same key. None: in none."""
    begin_ns = end_ns = samples = 0
    key: str | None = None
    for run in runs:
        here = key_of(run) if run.samples else None
        if here != key:
            if key is not None:
                yield begin_ns, end_ns, key, samples
            key, begin_ns, samples = here, run.start_ns, 0
        end_ns = run.start_ns + run.weight_ns
        samples += run.samples
    if key is not None:
        yield begin_ns, end_ns, key, samples
