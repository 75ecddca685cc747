"""Reads the recording in a flame graph page back, for `report`: sums of each stack, without their order.

Which code waited for the GIL is not in a page, so the times of threads come from its metadata (`PageRecording.totals`).
Numbers of samples are known of threads only; those of their stacks are shares of these. A page may be damaged
or made by an enemy.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, cast, get_args

from pystack.errors import InvalidArgument
from pystack.sampling import NO_INTERPRETER, STATS_MERGES, FrameKind, SampleState

from .aggregate import ThreadTotal
from .contention import Contention
from .counts import add_stats
from .grouping import GARBAGE_COLLECTION, NOT_SAMPLED
from .profile import EndReason, ProcessFacts, Profile, Recording
from .recording_file import BadRecordingFile
from .tables import SymbolTables
from .track import EMPTY_STACK, ThreadIdentity, Track
from .window import Window

_MOST_BYTES = 1 << 29
_MOST_NS = 1 << 62
_DATA = re.compile(
    rb'<script type="application/json" id="recording">([^<]*)</script>', re.DOTALL | re.ASCII
)
_PAGE = re.compile(rb"\s*<!DOCTYPE html>", re.IGNORECASE)
_STATES = {
    "cpu": SampleState.CPU_KNOWN,
    "gil": SampleState.GIL_KNOWN,
}


@dataclass(frozen=True, slots=True)
class PageRecording:
    """What a page contains. The order of runs means nothing, and none says that it waits for the GIL."""

    recording: Recording
    totals: list[ThreadTotal]  # of all threads, as `thread_totals` had them
    modes: tuple[str, ...]

    def check_mode(self, mode: str) -> None:
        """Raises InvalidArgument if the page does not have it."""
        if mode not in self.modes:
            known = ", ".join(one for one in self.modes if one != "blame")
            raise InvalidArgument(f"the page has no time in mode {mode}; it has {known}")


#: What a report of a page has to say.
NOTE = (
    "read from a page: which code waited for the GIL is not in it, and numbers of samples of functions are"
    " shares of their threads'"
)


def is_page(path: str) -> bool:
    """Whether it looks like a page. Raises OSError if it cannot be read."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return _PAGE.match(file.read(200)) is not None


def load_page(path: str) -> PageRecording:
    """Raises BadRecordingFile or OSError."""
    with open(path, "rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BadRecordingFile(f"{path} is larger than {_MOST_BYTES >> 20} MiB")
    found = _DATA.findall(content)
    if len(found) != 1:
        raise BadRecordingFile(f"{path} is not a flame graph page of pystack")
    try:
        data = json.loads(found[0])
        if "sides" in data:
            raise BadRecordingFile(f"{path} compares two recordings; report these")
        return _Page(data).load()
    except (
        *(ArithmeticError, AttributeError, LookupError),
        *(RecursionError, TypeError, ValueError),
    ) as error:
        raise BadRecordingFile(f"{path} is damaged: {error}") from error


class _Page:
    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._metadata: dict[str, Any] = data["metadata"]
        self._modes = tuple(map(_text, data["modes"]))
        self._known = 0
        for mode, bit in _STATES.items():
            self._known |= bit if mode in self._modes else 0
        self._tables = SymbolTables()
        #: Of each stack of the page: ours, and whether garbage was collected. -1: it is no stack.
        self._stacks: list[tuple[int, bool]] = [(EMPTY_STACK, False)]

    def load(self) -> PageRecording:
        self._read_tables()
        facts, target = self._metadata["recording"], self._metadata["target"]
        start = datetime.fromisoformat(_text(facts["start_time"]))
        recording = Recording(
            pid=_number(target["pid"]),
            command=tuple(map(_text, target["command"])),
            rate_hz=float(facts["rate_hz"]),
            stops_target=bool(facts["stops_target"]),
            native=bool(facts["native"]),
            max_cpu_share=float(facts["max_cpu_share"]),
            max_pause_share=float(facts["max_pause_share"]),
            subprocesses=bool(facts["subprocesses"]),
            other_processes=_number(target["other_processes"]),
            left_out_processes=_number(target["left_out_processes"]),
            unseen_processes=_number(target["unseen_processes"]),
            dead_children_ns=_number(target["dead_children_ns"]),
            start_time_ns=int(start.timestamp() * 1e9),
            began_ns=1,
            ended_ns=1 + _number(facts["duration_ns"]),
            end_reason=_end_reason(facts["end_reason"]),
            error=_optional_text(facts["error"]),
            tool_cpu_ns=_number(facts["tool_cpu_ns"]),
        )
        threads = list(zip(self._data["threads"], self._metadata["threads"], strict=True))
        totals = []
        for place, process in enumerate(target["processes"]):
            tracks: dict[int, Track] = {}
            contention = Contention()
            for columns, about in threads:
                if columns["process"] != place:
                    continue
                identity = _identity(about)
                track = tracks[len(tracks)] = self._track(identity, columns, about)
                totals.append(_total(identity, about))
                for place_of, waited_us in self._weights(columns, "blame"):
                    key = track, max(EMPTY_STACK, self._stacks[place_of][0])
                    contention.blamed_ns[key] = contention.blamed_ns.get(key, 0) + 1000 * waited_us
            recording.profiles.append(self._profile(process, tracks, contention))
        if len(totals) != len(threads):
            raise ValueError("a thread has no process")
        gil = self._metadata["gil"]
        if gil is not None and recording.profiles:
            contention = recording.profiles[0].contention
            contention.unexplained_ns = _number(gil["unexplained_wait_ns"])
        return PageRecording(recording, totals, self._modes)

    def _read_tables(self) -> None:
        data, tables = self._data, self._tables
        functions, frames, stacks = data["functions"], data["frames"], data["stacks"]
        tables.strings.extend(map(_text, data["strings"]))
        kinds = [_frame_kind(kind) for kind in data["kinds"]]
        names, files = functions["name"], functions["file"]
        _check_below(len(tables.strings), names, files)
        _check_below(len(kinds), functions["kind"])
        _check_below(len(names), frames["function"])
        gc, gap = set[int](), set[int]()
        for function, line in zip(frames["function"], frames["line"], strict=True):
            kind, is_code = kinds[functions["kind"][function]]
            file = tables.strings[files[function]]
            if not is_code and tables.strings[names[function]] == GARBAGE_COLLECTION.function:
                gc.add(len(tables.frame_kind))
            if not is_code and tables.strings[names[function]] == NOT_SAMPLED.function:
                gap.add(len(tables.frame_kind))
            if data["kinds"][functions["kind"][function]] == "interpreter":
                kind = FrameKind.PYTHON if file.startswith("<frozen ") else FrameKind.NATIVE
            tables.frame_kind.append(kind)
            tables.frame_function.append(names[function])
            tables.frame_file.append(files[function])
            tables.frame_line.append(line)
            tables.frame_first_line.append(functions["line"][function])
        tables.stack_parent.append(EMPTY_STACK)
        tables.stack_frame.append(0)
        for distance, frame in zip(stacks["parent"], stacks["frame"], strict=True):
            place = len(self._stacks)
            if not 1 <= distance <= place or not 0 <= frame < len(tables.frame_kind):
                raise ValueError("a stack is out of range")
            parent = self._stacks[place - distance][0]
            if frame in gap and parent == EMPTY_STACK:
                self._stacks.append((-1, False))
            elif frame in gc:
                self._stacks.append((parent, True))
            elif parent < 0:
                raise ValueError("something calls nothing")
            else:
                self._stacks.append((len(tables.stack_parent), False))
                tables.stack_parent.append(parent)
                tables.stack_frame.append(frame)

    def _weights(self, columns: dict[str, Any], mode: str) -> Iterator[tuple[int, int]]:
        """Stacks of the page and microseconds."""
        if mode not in self._modes:
            return
        stacks = list(accumulate(columns["stack"]))
        _check_below(len(self._stacks), stacks)
        _check_below(_MOST_NS // 1000, columns[mode])
        yield from zip(stacks, columns[mode], strict=True)

    def _track(
        self, identity: ThreadIdentity, columns: dict[str, Any], about: dict[str, Any]
    ) -> Track:
        modes = ("cpu", "gil", "runnable", "waits")
        of_mode = {mode: dict(self._weights(columns, mode)) for mode in modes}
        rows: list[tuple[int, ...]] = []
        for place, wall_us in self._weights(columns, "wall"):
            stack, collects = self._stacks[place]
            cpu, gil, runnable, waits = (weights.get(place, 0) for weights in of_mode.values())
            held = min(gil, wall_us)
            # A page of a version without the mode does not say which of the time is waiting.
            waited = min(waits, wall_us) if "waits" in self._modes else 0
            known = self._known | (SampleState.GC if collects else 0)
            if stack < 0:
                rows.append((1000 * wall_us, EMPTY_STACK, 0, 0, 0, 0, 0))
                continue
            ran = SampleState.ON_CPU if "waits" in self._modes or cpu + runnable else 0
            both = max(0, held + waited - wall_us)
            cpu_of_held, runnable_of_held = (cpu, runnable) if held > both else (0, 0)
            parts = (
                (both, known | SampleState.HOLDS_GIL, 0, 0),
                (held - both, known | ran | SampleState.HOLDS_GIL, cpu_of_held, runnable_of_held),
                (waited - both, known, 0, 0),
                (
                    *(wall_us - held - waited + both, known | ran),
                    *(cpu - cpu_of_held, runnable - runnable_of_held),
                ),
            )
            rows += [
                (1000 * part_us, stack, bits, 1, 1000 * cpu_us, 1000 * runnable_us, 0)
                for part_us, bits, cpu_us, runnable_us in parts
                if part_us or cpu_us or runnable_us
            ]
        rows = _with_samples(rows, _number(about["samples"]))
        return Track.of_columns(
            identity,
            list(zip(*rows, strict=True)) or [array("q")] * 7,
            start_ns=1,
            end_ns=1 + sum(row[0] for row in rows),
            changes=0,
        )

    def _profile(
        self, about: dict[str, Any], tracks: dict[int, Track], contention: Contention
    ) -> Profile:
        facts = ProcessFacts(
            pid=_number(about["pid"]),
            command=tuple(map(_text, about["command"])),
            python_version=_text(about["python_version"]),
            other_interpreters=tuple(map(_text, about["other_interpreters"])),
            start_ns=1,
            end_ns=1 + _number(about["duration_ns"]),
            end_reason=_end_reason(about["end_reason"]),
            error=_optional_text(about["error"]),
        )
        profile = Profile(facts, self._tables, Window.of_tracks(tracks, contention))
        counts = {name: value for name, value in about["counts"].items() if name in STATS_MERGES}
        for value in counts.values():
            for one in value if isinstance(value, list) else [value]:
                _number(one)
        add_stats(profile.stats, cast("Any", counts))
        return profile


def _with_samples(rows: list[tuple[int, ...]], samples: int) -> list[tuple[int, ...]]:
    """Shares the samples of a thread among its rows, which are gaps or have one each, by their weights."""
    whole_ns = sum(row[0] for row in rows if row[3])
    more = max(0, samples - sum(row[3] for row in rows))
    given = seen_ns = 0
    shared = []
    for weight_ns, stack, state, count, *times_ns in rows:
        if count and whole_ns:
            seen_ns += weight_ns
            count += more * seen_ns // whole_ns - given
            given = more * seen_ns // whole_ns
        shared.append((weight_ns, stack, state, count, *times_ns))
    return shared


def _identity(about: dict[str, Any]) -> ThreadIdentity:
    interpreter = about["interpreter_id"]
    return ThreadIdentity(
        _number(about["pid"]),
        _number(about["tid"]),
        NO_INTERPRETER if interpreter is None else _number(interpreter),
        _text(about["name"]),
    )


def _total(identity: ThreadIdentity, about: dict[str, Any]) -> ThreadTotal:
    names = ("on_cpu_ns", "runnable_ns", "gil_held_ns", "gil_wait_ns", "gil_without_ns")
    times = {
        name: None if about[name] is None else _number(about[name])
        for name in (*names, "gil_blamed_ns")
    }
    return ThreadTotal(
        identity=identity,
        samples=_number(about["samples"]),
        seen_ns=_number(about["seen_ns"]),
        gap_ns=_number(about["gap_ns"]),
        gc_ns=_number(about["gc_ns"]),
        changes=0,
        **times,
    )


def _frame_kind(kind: object) -> tuple[int, bool]:
    """The sampler's kind, and whether it is code."""
    if kind in ("gc", "wait", "marker"):
        return FrameKind.MARKER, False
    if kind not in ("python", "library", "native", "interpreter"):
        raise ValueError("unknown kind of a frame")
    return (FrameKind.NATIVE if kind == "native" else FrameKind.PYTHON), True


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} instead of a text")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < _MOST_NS:
        raise ValueError("a count or a time is out of range")
    return value


def _end_reason(value: object) -> EndReason:
    if value not in get_args(EndReason):
        raise ValueError("unknown reason of an end")
    return cast("EndReason", value)


def _check_below(limit: int, *columns: Sequence[int]) -> None:
    for column in columns:
        numbers = array("q", column)  # takes whole numbers only
        if numbers and not 0 <= min(numbers) <= max(numbers) < limit:
            raise ValueError("a number is out of range")
