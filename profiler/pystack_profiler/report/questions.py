"""Questions about one function: who calls it, what it calls, which lines and paths take its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ..grouping import FrameLabel
from ..profile import Recording
from ..view import View
from .names import functions_named
from .overview import SCHEMA_VERSION, label_json
from .weights import StackWeights, label_order, without_recursion

Question = Literal["callers", "callees", "lines", "path"]
QUESTIONS: tuple[Question, ...] = get_args(Question)


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows with their times, longest first. Recursive calls count once."""

    question: Question
    functions: list[FrameLabel]  # that were asked about: all of this name
    view: View
    base_ns: int  # of all threads in the mode
    total_ns: int  # of the functions: what is in them or in their callees
    self_ns: int
    rows: list[tuple[list[FrameLabel], int]]  # one frame each, or those of a path
    more_rows: int

    def to_json(self) -> dict[str, Any]:
        return {
            "report_version": SCHEMA_VERSION,
            "question": self.question,
            "functions": [label_json(label) for label in self.functions],
            "view": {"mode": self.view.mode, "granularity": self.view.granularity},
            "base_ns": self.base_ns,
            "total_ns": self.total_ns,
            "self_ns": self.self_ns,
            "rows": [
                {"time_ns": time_ns, "frames": [label_json(label) for label in labels]}
                for labels, time_ns in self.rows
            ],
        }


def answer(recording: Recording, view: View, question: Question, name: str, limit: int) -> Answer:
    """Raises InvalidArgument if no function has the name."""
    if question == "lines":
        view = replace(view, granularity="line")
    weights = StackWeights(recording.in_mode(view.mode), view)
    labels = weights.grouping.frames
    asked = functions_named(labels, name)
    find = {"callers": _callers, "callees": _callees, "lines": _lines, "path": _path}[question]
    times_ns: dict[tuple[int, ...], int] = {}
    total_ns = self_ns = 0
    for path, weight in weights.paths():
        places = [place for place, frame in enumerate(path) if frame in asked]
        if not places or not weight.time_ns:
            continue
        total_ns += weight.time_ns
        self_ns += weight.time_ns if path[-1] in asked else 0
        for key in find(path, places):
            times_ns[key] = times_ns.get(key, 0) + weight.time_ns
    rows = [([labels[frame] for frame in key], time_ns) for key, time_ns in times_ns.items()]
    rows.sort(key=lambda row: (-row[1], [*map(label_order, row[0])]))
    functions = sorted({labels[frame].of_function for frame in asked}, key=label_order)
    return Answer(
        question,
        functions,
        view,
        weights.sum.time_ns,
        total_ns,
        self_ns,
        rows[:limit],
        max(0, len(rows) - limit),
    )


def _callers(path: list[int], places: list[int]) -> Iterator[tuple[int, ...]]:
    """The caller of the outermost call; () if there is none."""
    yield tuple(path[places[0] - 1 : places[0]]) if places[0] else ()


def _callees(path: list[int], places: list[int]) -> set[tuple[int, ...]]:
    """All that it calls in this stack. Its own recursive calls are none."""
    following = {path[place + 1] for place in places if place + 1 < len(path)}
    return {(frame,) for frame in following.difference(path[place] for place in places)}


def _lines(path: list[int], places: list[int]) -> set[tuple[int, ...]]:
    return {(path[place],) for place in places}


def _path(path: list[int], places: list[int]) -> Iterator[tuple[int, ...]]:
    yield without_recursion(path)
