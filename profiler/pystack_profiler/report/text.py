"""The overview and answers as text: some 110 columns, and at most 60 lines with 15 functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pystack.render.escape import escape

from ..grouping import FrameLabel
from ..stats import format_share, format_time, plural
from ..view import whole_of
from .gil import GilAnswer
from .names import place, shortened
from .overview import Overview
from .questions import Answer
from .weights import uncertainty

_WIDTH = 110
_THREADS = 8
_FINDINGS = 10


def overview_text(report: Overview) -> list[str]:
    lines = [report.title, *report.account]
    points = 100 * uncertainty(0.1, report.samples)
    lines.append(
        f"100 % is {format_time(report.base_ns)}, the {whole_of(report.view.mode)}; a share of 10 % is sure to"
        f" ±{points:.2g} points (95 %)"
    )
    lines += ["", f"{'self':>7} {'':>9} {'total':>7} {'':>9} {'CPU':>9}  function"]
    for row in report.functions:
        lines.append(
            f"{_percent(row.own.time_ns, report.base_ns)} {format_time(row.own.time_ns):>9}"
            f" {_percent(row.total_ns, report.base_ns)} {format_time(row.total_ns):>9}"
            f" {format_time(row.own.cpu_ns):>9}  {place(row.label)}"
        )
    if report.more_functions:
        lines.append(f"        and {plural(report.more_functions, 'more function')} (--limit)")
    if report.paths:
        lines += ["", "heaviest paths"]
    for path, weight in report.paths:
        lines.append(f"{_percent(weight.time_ns, report.base_ns)}  {_chain(path)}")
    lines += ["", *_threads(report.metadata["threads"])]
    closing = [*report.findings[:_FINDINGS]]
    if len(report.findings) > _FINDINGS:
        closing.append(f"and {plural(len(report.findings) - _FINDINGS, 'more finding')} (--json)")
    closing += [f"hint: {hint}" for hint in report.hints]
    return [*lines, *([""] if closing else []), *closing]


def answer_text(answer: Answer) -> list[str]:
    names = [place(label) for label in answer.functions]
    share = format_share(answer.total_ns, answer.base_ns)
    first = (
        f"{names[0] if names else ''}: total {format_time(answer.total_ns)} ({share} of the"
        f" {whole_of(answer.view.mode)}), self"
        f" {format_time(answer.self_ns)}"
    )
    lines = [first, *_others_of_name(names)]
    heading = {
        "callers": "called by",
        "callees": "calls",
        "lines": "lines (with what they call)",
        "path": "paths",
    }[answer.question]
    lines += ["", f"{'share':>7} {'time':>9}  {heading}"]
    for labels, time_ns in answer.rows:
        if answer.question == "path":
            text = _chain(labels)
        else:
            text = place(labels[0]) if labels else "nothing: it is the outermost function"
        lines.append(f"{_percent(time_ns, answer.total_ns)} {format_time(time_ns):>9}  {text}")
    if answer.question == "callees" and answer.self_ns:
        own = f"{_percent(answer.self_ns, answer.total_ns)} {format_time(answer.self_ns):>9}"
        lines.append(f"{own}  (itself)")
    if answer.more_rows:
        lines.append(f"        and {plural(answer.more_rows, 'more row')} (--limit)")
    return lines


def gil_text(answer: GilAnswer) -> list[str]:
    names = [place(label) for label in answer.functions]
    total, all_times = answer.total, answer.all
    held = f"{format_time(total.held_ns)} ({format_share(total.held_ns, all_times.held_ns)} of all)"
    blamed_share = format_share(total.blamed_ns, all_times.blamed_ns)
    lines = [
        f"{names[0]}: held the GIL for {held}; others waited {format_time(total.blamed_ns)} meanwhile"
        f" ({blamed_share} of such waiting); it waited itself {format_time(total.waited_ns)}",
        *_others_of_name(names),
    ]
    if answer.rows:
        lines += ["", f"{'others waited':>13} {'held':>9} {'waited':>9}  innermost function"]
    for label, times in answer.rows:
        lines.append(
            f"{format_time(times.blamed_ns):>13} {format_time(times.held_ns):>9}"
            f" {format_time(times.waited_ns):>9}  {place(label)}"
        )
    if answer.more_rows:
        lines.append(f"and {plural(answer.more_rows, 'more row')} (--limit)")
    return lines


def _others_of_name(names: Sequence[str]) -> list[str]:
    lines = [f"  and {name}" for name in names[1:4]]
    if len(names) > 4:
        lines.append(f"  and {plural(len(names) - 4, 'more function')} of this name")
    return lines


def _threads(threads: Sequence[dict[str, Any]]) -> list[str]:
    busiest = sorted(
        threads,
        key=lambda one: (-(one["on_cpu_ns"] or 0), -one["seen_ns"], one["pid"], one["tid"]),
    )
    lines = [f"{plural(len(threads), 'thread')}, busiest first"] if threads else []
    for thread in busiest[:_THREADS]:
        facts = [f"seen {format_time(thread['seen_ns'])}"]
        for key, words in (
            ("on_cpu_ns", "on CPU"),
            ("gil_held_ns", "with the GIL"),
            ("gil_wait_ns", "waited for the GIL"),
            ("gc_ns", "collected garbage"),
        ):
            if thread[key]:
                facts.append(f"{words} {format_share(thread[key], thread['seen_ns'])}")
        name = f' "{shortened(escape(thread["name"]), 30)}"' if thread["name"] else ""
        lines.append(f"  {thread['pid']}/{thread['tid']}{name}: {', '.join(facts)}")
    if len(threads) > _THREADS:
        lines.append(f"  and {plural(len(threads) - _THREADS, 'more thread')} (--json)")
    return lines


def _percent(part_ns: int, whole_ns: int) -> str:
    return f"{100 * part_ns / whole_ns if whole_ns else 0.0:5.1f} %"


def _chain(path: Sequence[FrameLabel]) -> str:
    """`main > run > … > fib`: the outermost and the innermost function, and what fits of the user's functions, then of
    others, the innermost first."""
    names = [shortened(label.name, 40) for label in path]
    inner = range(len(path) - 2, 0, -1)
    own = [at for at in inner if path[at].kind == "python"]
    shown = {0, len(path) - 1}
    for at in (*own, *(at for at in inner if at not in own)):
        if len(_joined(names, shown | {at})) > _WIDTH:
            break
        shown.add(at)
    return _joined(names, shown)


def _joined(names: Sequence[str], shown: set[int]) -> str:
    parts: list[str] = []
    for at, name in enumerate(names):
        if at in shown:
            parts.append(name)
        elif at - 1 in shown:
            parts.append("…")
    return " > ".join(parts)
