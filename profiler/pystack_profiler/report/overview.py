"""The overview of a recording: plain data, from which the text and the JSON are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..aggregate import ThreadTotal, inclusive, thread_totals
from ..grouping import FrameLabel
from ..metadata import metadata_of
from ..naming import recording_title
from ..profile import Recording
from ..summary import account, findings
from ..view import View
from .weights import StackWeights, Weight, label_order, uncertainty, without_recursion

#: Raised if a key changes its meaning.
SCHEMA_VERSION = 1

_PATHS = 5
_FEW_SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class FunctionRow:
    label: FrameLabel
    own: Weight
    total_ns: int


@dataclass(frozen=True, slots=True)
class Overview:
    title: str
    view: View
    base_ns: int  # of all per cents: the time of all threads in the mode
    samples: int  # that this time is made of; of tasks, which are sampled together, those of one
    functions: list[FunctionRow]
    more_functions: int
    paths: list[tuple[list[FrameLabel], Weight]]
    more_paths: int
    account: list[str]
    findings: list[str]
    hints: list[str]
    metadata: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "report_version": SCHEMA_VERSION,
            "title": self.title,
            "base_ns": self.base_ns,
            "samples": self.samples,
            "functions": [
                {
                    **label_json(row.label),
                    "self_ns": row.own.time_ns,
                    "total_ns": row.total_ns,
                    "self_cpu_ns": row.own.cpu_ns,
                    "self_gil_ns": row.own.gil_ns,
                    "self_samples": row.own.samples,
                }
                for row in self.functions
            ],
            "paths": [
                {"time_ns": weight.time_ns, "frames": [label_json(label) for label in path]}
                for path, weight in self.paths
            ],
            "findings": self.findings,
            "hints": self.hints,
            **self.metadata,
        }


def overview(
    recording: Recording,
    view: View,
    limit: int,
    totals: list[ThreadTotal] | None = None,
    notes: Sequence[str] = (),
) -> Overview:
    """`limit` is the number of functions, `totals` are those of the threads if they are known already, and
    `notes` are findings of the caller."""
    weights = StackWeights(recording.in_mode(view.mode), view)
    frames = weights.grouping.frames
    total_ns = inclusive(weights.grouping, weights.own())
    own = [Weight() for _ in frames]
    for stack, weight in weights.of_stack.items():
        own[weights.grouping.frame[stack]].add(weight)
    functions = [
        FunctionRow(label, own[frame], total_ns[frame])
        for frame, label in enumerate(frames)
        if total_ns[frame] and weights.is_shown(frame)
    ]
    functions.sort(key=lambda row: (-row.own.time_ns, -row.total_ns, label_order(row.label)))
    calls = [item for item in weights.calls() if item[1].time_ns]
    calls.sort(key=lambda item: -item[1].time_ns)
    # Those of equal times are sorted by their names, but not all of the others.
    least_ns = calls[min(len(calls), _PATHS) - 1][1].time_ns if calls else 0
    paths = [
        ([frames[frame] for frame in without_recursion(weights.grouping.path(stack))], weight)
        for stack, weight in calls
        if weight.time_ns >= least_ns
    ]
    paths.sort(key=lambda item: (-item[1].time_ns, [*map(label_order, item[0])]))
    is_of_threads = view.granularity == "function" and view.mode != "tasks"
    by_function = weights.grouping if is_of_threads else None
    totals = thread_totals(recording) if totals is None else totals
    return Overview(
        title=recording_title(recording),
        view=view,
        base_ns=weights.sum.time_ns,
        samples=weights.independent_samples,
        functions=functions[:limit],
        more_functions=max(0, len(functions) - limit),
        paths=paths[:_PATHS],
        more_paths=max(0, len(calls) - _PATHS),
        account=account(recording),
        findings=[*notes, *findings(recording, view, by_function, totals)],
        hints=_hints(recording, weights, functions),
        metadata=metadata_of(recording, view, None, by_function, totals),
    )


def label_json(label: FrameLabel) -> dict[str, Any]:
    return {
        "name": label.name,
        "function": label.function,
        "file": label.file,
        "line": label.line,
        "kind": label.kind,
    }


def _hints(recording: Recording, weights: StackWeights, functions: list[FunctionRow]) -> list[str]:
    hints = []
    if recording.end_reason == "running":
        hints.append(
            "the recording was not finished: it still runs, or its recorder was killed; all until then is here"
        )
    samples = weights.independent_samples
    if samples < _FEW_SAMPLES:
        points = 100 * uncertainty(0.1, samples)
        hints.append(
            f"only {samples:,} samples: a share of 10 % can be off by {points:.2g} points; record for"
            " longer, or at a higher rate (-r)"
        )
    if functions and functions[0].label.kind not in ("marker", "gc", "wait"):
        name = functions[0].label.function
        hints.append(
            f"`callers {name}` shows who calls the first function, `lines {name}` where it spends time"
        )
    if weights.sum.cpu_ns and weights.sum.cpu_ns < 0.5 * weights.sum.time_ns:
        hints.append("most of the time is waiting: --mode cpu shows what ran, `waits` for what")
    return hints
