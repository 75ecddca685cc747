"""speedscope's JSON: one sampled profile per thread, on one common clock.

Weights are nanoseconds of real time. Time in which a thread was not seen is an empty stack, from
the recording's first moment to its last, so the time axes of all threads agree. What speedscope
has no place for is under the key `pystack`, which viewers ignore.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import islice
from typing import Any, TextIO

from pystack.render.escape import escape, quote_command

from ..aggregate import ThreadTotal, busiest_track, thread_totals
from ..grouping import FrameLabel, Granularity, Grouping, group
from ..profile import EMPTY_STACK, Profile, ThreadIdentity, Track
from ..stats import achieved_rate_hz

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

#: Of the `pystack` key.
METADATA_VERSION = 1

_ITEMS_PER_WRITE = 4096
_CACHED_CHARACTERS = 1 << 24


def export(profile: Profile, stream: TextIO, *, granularity: Granularity = "function") -> None:
    """Writes piece by piece: the file is never in memory as a whole."""
    grouping = group(profile, granularity)
    metadata = profile.metadata
    write = stream.write
    write("{")
    _write_field(stream, "$schema", SCHEMA)
    _write_field(stream, "exporter", f"pystack@{metadata.tool_version or 'unknown'}")
    _write_field(stream, "name", _title(profile))
    order = _order(profile)
    busiest = busiest_track(profile)
    _write_field(stream, "activeProfileIndex", 0 if busiest is None else order.index(busiest))
    _write_field(stream, "pystack", _metadata(profile, granularity, order))
    write('"shared":{"frames":')
    _write_array(stream, (json.dumps(_frame(label)) for label in grouping.frames))
    write('},"profiles":[')
    stack_text = _StackText(grouping)
    for position, index in enumerate(order):
        track = profile.tracks[index]
        write(",\n" if position else "\n")
        weighted = [*_weighted_stacks(profile, track, grouping)]
        _write_profile(stream, _thread_title(track.identity), weighted, stack_text)
    if not profile.tracks:
        # speedscope refuses a file without profiles; an empty answer should open too.
        nothing = [(EMPTY_STACK, profile.duration_ns)]
        write("\n")
        _write_profile(stream, "no Python thread was seen", nothing, stack_text)
    write("]}\n")


def _order(profile: Profile) -> list[int]:
    """Indices of the tracks: each process's main thread first, the others as they were started."""
    identities = [track.identity for track in profile.tracks]

    def key(index: int) -> tuple[int, bool, int, int]:
        who = identities[index]
        return who.pid, who.tid != who.pid, who.tid, who.interpreter_id

    return sorted(range(len(identities)), key=key)


def _write_profile(
    stream: TextIO, name: str, weighted: list[tuple[int, int]], stack_text: _StackText
) -> None:
    stream.write('{"type":"sampled",')
    _write_field(stream, "name", name)
    _write_field(stream, "unit", "nanoseconds")
    _write_field(stream, "startValue", 0)
    _write_field(stream, "endValue", sum(weight_ns for _, weight_ns in weighted))
    stream.write('"samples":')
    _write_array(stream, (stack_text(stack) for stack, _ in weighted))
    stream.write(',"weights":')
    _write_array(stream, (str(weight_ns) for _, weight_ns in weighted))
    stream.write("}")


def _weighted_stacks(
    profile: Profile, track: Track, grouping: Grouping
) -> Iterator[tuple[int, int]]:
    """A thread's stacks and their times, from the recording's begin to its end, without holes."""
    stack, weight_ns = EMPTY_STACK, 0
    end_ns = profile.start_ns
    for run in track.runs():
        for next_stack, next_weight_ns in (
            (EMPTY_STACK, max(0, run.start_ns - end_ns)),
            (grouping.stack_of[run.stack], run.weight_ns),
        ):
            if not next_weight_ns:
                continue
            if next_stack != stack:
                if weight_ns:
                    yield stack, weight_ns
                stack, weight_ns = next_stack, 0
            weight_ns += next_weight_ns
        end_ns = max(end_ns, run.start_ns + run.weight_ns)
    rest_ns = max(0, profile.end_ns - end_ns)
    if stack == EMPTY_STACK:
        weight_ns += rest_ns
        rest_ns = 0
    if weight_ns:
        yield stack, weight_ns
    if rest_ns:
        yield EMPTY_STACK, rest_ns


class _StackText:
    """Stack id -> `[1,2,3]`. Remembers recent ones, but not without bound: stacks can be deep."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._known: dict[int, str] = {}
        self._characters = 0

    def __call__(self, stack: int) -> str:
        text = self._known.get(stack)
        if text is None:
            text = f"[{','.join(map(str, self._grouping.path(stack)))}]"
            if self._characters > _CACHED_CHARACTERS:
                self._known.clear()
                self._characters = 0
            self._known[stack] = text
            self._characters += len(text)
        return text


def _write_field(stream: TextIO, name: str, value: Any) -> None:
    stream.write(f"{json.dumps(name)}:{json.dumps(value)},")


def _write_array(stream: TextIO, items: Iterable[str]) -> None:
    iterator = iter(items)
    stream.write("[" + ",".join(islice(iterator, _ITEMS_PER_WRITE)))
    while chunk := list(islice(iterator, _ITEMS_PER_WRITE)):
        stream.write("," + ",".join(chunk))
    stream.write("]")


def _frame(label: FrameLabel) -> dict[str, str | int]:
    frame: dict[str, str | int] = {"name": label.name}
    if label.file:
        frame["file"] = label.file
    if label.line is not None:
        frame["line"] = label.line
    return frame


def _title(profile: Profile) -> str:
    metadata = profile.metadata
    command = quote_command(metadata.command) or "process"
    shortened = command if len(command) <= 80 else f"{command[:79]}…"
    version = f", CPython {metadata.python_version}" if metadata.python_version else ""
    return f"{shortened} (pid {metadata.pid}{version})"


def _thread_title(identity: ThreadIdentity) -> str:
    title = f"{identity.pid}/{identity.tid} {escape(identity.name)}".rstrip()
    return f"{title} (interpreter {identity.interpreter_id})" if identity.interpreter_id else title


def _metadata(profile: Profile, granularity: Granularity, order: list[int]) -> dict[str, Any]:
    metadata = profile.metadata
    totals = thread_totals(profile)
    start = datetime.fromtimestamp(metadata.start_time_ns / 1e9, timezone.utc)
    return {
        "schema_version": METADATA_VERSION,
        "target": {
            "pid": metadata.pid,
            "command": list(metadata.command),
            "python_version": metadata.python_version,
        },
        "recording": {
            "start_time": start.isoformat(timespec="milliseconds"),
            "duration_ns": profile.duration_ns,
            "rate_hz": metadata.rate_hz,
            "achieved_rate_hz": achieved_rate_hz(profile.stats) if profile.stats else None,
            "stops_target": metadata.stops_target,
            "granularity": granularity,
            "time_resolution_ns": profile.time_resolution_ns,
            "end_reason": metadata.end_reason,
            "error": metadata.error,
            "tool_cpu_ns": metadata.tool_cpu_ns,
        },
        "counts": profile.stats,
        "threads": [_thread(totals[index]) for index in order],  # in the order of the profiles
    }


def _thread(total: ThreadTotal) -> dict[str, Any]:
    return {
        "pid": total.identity.pid,
        "tid": total.identity.tid,
        "interpreter_id": total.identity.interpreter_id,
        "name": total.identity.name,
        "samples": total.samples,
        "seen_ns": total.seen_ns,
        "gap_ns": total.gap_ns,
        "on_cpu_ns": total.on_cpu_ns,
        "gil_held_ns": total.gil_held_ns,
        "gil_wait_ns": total.gil_wait_ns,
    }
