"""A comparison as a table."""

from __future__ import annotations

import posixpath

from ..stats import format_time, plural
from .compare import Change, Comparison, FunctionChange

_NAME_WIDTH = 60


def comparison_text(comparison: Comparison, limit: int) -> list[str]:
    """`limit` is the number of functions."""
    before_ns, after_ns = comparison.base_ns
    change = f" ({100 * (after_ns / before_ns - 1):+.1f} %)" if before_ns else ""
    lines = [
        f"before: {_side(comparison, 0)}",
        f"after:  {_side(comparison, 1)}{change}",
    ]
    significant = [one for one in comparison.functions if one.is_significant]
    what = plural(len(significant), "function")
    lines.append(
        f"{what} of {len(comparison.functions):,} changed by more than chance explains (95 % for all"
        " together)"
    )
    rows = significant or comparison.functions
    if rows:
        lines += [
            "",
            f"{'self, % of the time':^33}   {'total, % of the time':^33}",
            f"{'before':>7} {'after':>7} {'change':>17}   {'before':>7} {'after':>7} {'change':>17}  function",
        ]
    for row in rows[:limit]:
        own, total = _change(row.self_change), _change(row.total_change)
        lines.append(f"{own}   {total} {'*' if row.is_significant else ' '}{_name(row)}")
    if len(rows) > limit:
        lines.append(f"and {plural(len(rows) - limit, 'more function')} (--limit)")
    return lines


def _side(comparison: Comparison, side: int) -> str:
    words = {"wall": "time", "cpu": "CPU time", "gil": "time with the GIL"}
    what = words.get(comparison.view.mode, "time without a CPU")
    return (
        f"{plural(comparison.recordings[side], 'recording')},"
        f" {plural(comparison.samples[side], 'sample')},"
        f" {format_time(round(comparison.base_ns[side]))} {what} each"
    )


def _change(change: Change) -> str:
    points = f"{100 * change.points:+.2f} ±{100 * change.margin:.2f}"
    return f"{100 * change.before:7.2f} {100 * change.after:7.2f} {points:>17}"


def _name(row: FunctionChange) -> str:
    function, file = row.key
    text = f"{function} ({posixpath.basename(file)})" if file else function
    return text if len(text) <= _NAME_WIDTH else f"{text[: _NAME_WIDTH - 1]}…"
