"""The Firefox Profiler's processed format: threads with their samples in time, CPU use and markers.

Weights are milliseconds of real time (of the view's mode). Markers show the stretches in which a thread
waited for the GIL, was off the CPU for another reason, or collected garbage; they need the order of samples. Facts
about the format: docs-developer/CHANGELOG-formats.md and src/types/profile.ts of firefox-devtools/profiler.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from typing import Any, TextIO

from pystack.render.escape import quote_command

from ..aggregate import busiest_track, display_order
from ..grouping import FrameLabel, Grouping, LabelKind
from ..naming import process_name, recording_title, thread_title
from ..profile import Profile, Recording
from ..stats import format_time, losses, not_sampled_ns
from ..track import EMPTY_STACK, Run, Track
from ..view import DEFAULT_VIEW, Mode, View, time_in_mode, was_measured
from .firefox_markers import CATEGORIES, SCHEMA, MarkerTable
from .pieces import milliseconds, write_array

#: Tables are shared by the threads since 60, and sources have IDs since 61; viewers upgrade older files.
_VERSION = 61
_GECKO_VERSION = 31  # of the format that Firefox itself writes; viewers want a number
_LIBRARY = 1  # the type of a resource

_CATEGORY_OF_KIND: dict[LabelKind, str] = {
    "python": "Python",
    "library": "Library",
    "native": "Native",
    "interpreter": "Interpreter",
    "gc": "Garbage collection",
    "wait": "Waiting",
    "marker": "Other",
}


def export(recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None:
    """Writes piece by piece, so that the file is never in memory as a whole."""
    grouping = Grouping(recording.profiles, "address", full_filenames=view.full_filenames)
    tracks = list(recording.tracks())
    order = display_order(tracks)
    busiest = busiest_track(recording)
    tables = _Tables()
    frames = [tables.frame(label) for label in grouping.frames]
    pids = _distinct_pids(recording)
    stream.write('{"threads":[')
    for position, index in enumerate(order):
        profile, track = tracks[index]
        stream.write(",\n" if position else "\n")
        thread = _Thread(recording, profile, track, grouping, tables)
        thread.write(stream, pids[profile], view.mode)
    stream.write('],\n"shared":{')
    _write_table(stream, "stackTable", _stack_columns(grouping, frames))
    tables.write(stream)
    stream.write("},\n")
    first = None if busiest is None else order.index(busiest)
    stream.write(f'"libs":{_text(tables.libs)},\n"meta":{_text(_meta(recording, view, first))}}}\n')


def _meta(recording: Recording, view: View, selected: int | None) -> dict[str, Any]:
    facts = {
        "Samples": f"{recording.sample_count:,}, {losses(recording.stats)}",
        "Not sampled": format_time(not_sampled_ns(recording.stats)),
        "Weights": f"milliseconds, mode {view.mode}",
    }
    if recording.time_resolution_ns:
        resolution = format_time(recording.time_resolution_ns)
        facts["Order of samples"] = f"exact to {resolution}, so there are no markers"
    entries = [{"label": key, "format": "string", "value": facts[key]} for key in facts]
    return {
        "interval": 1000 / recording.rate_hz if recording.rate_hz else 1,
        "startTime": recording.unix_time_ns(recording.start_ns) / 1e6,
        "profilingStartTime": 0,
        "profilingEndTime": recording.duration_ns / 1e6,
        "processType": 0,
        "product": recording_title(recording),
        "arguments": quote_command(recording.command),
        "importedFrom": f"pystack {recording.tool_version or 'unknown'}",
        "stackwalk": 1,
        "version": _GECKO_VERSION,
        "preprocessedProfileVersion": _VERSION,
        "symbolicated": True,
        "symbolicationNotSupported": True,  # the names are there
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns"},
        "categories": CATEGORIES,
        "markerSchema": SCHEMA,
        "usesOnlyOneStackType": True,
        "sourceCodeIsNotOnSearchfox": True,
        "keepProfileThreadOrder": True,
        "initialSelectedThreads": [] if selected is None else [selected],
        "extra": [{"label": "Recording", "entries": entries}],
    }


class _Tables:
    """What all threads share: texts, functions, frames, libraries."""

    def __init__(self) -> None:
        self._strings: dict[str, int] = {}
        self._functions: dict[tuple[FrameLabel, int], int] = {}
        self._sources: dict[str, int] = {}
        self._libraries: dict[tuple[str, str], int] = {}
        self._frames: list[FrameLabel] = []
        self._function_of_frame: list[int] = []

    def string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def frame(self, label: FrameLabel) -> int:
        """Adds one, and returns its index."""
        library = -1
        if label.code is not None and label.code.module:
            key = label.code.module, label.code.build_id
            library = self._libraries.setdefault(key, len(self._libraries))
            self.string(_file_name(label.code.module))
        function = label.of_function, library
        self.string(function[0].name)
        if label.file and label.file not in self._sources:
            self._sources[label.file] = len(self._sources)
            self.string(label.file)
        self._function_of_frame.append(self._functions.setdefault(function, len(self._functions)))
        self._frames.append(label)
        return len(self._frames) - 1

    @property
    def libs(self) -> list[dict[str, Any]]:
        return [_library(module, build_id) for module, build_id in self._libraries]

    def write(self, stream: TextIO) -> None:
        names = [category["name"] for category in CATEGORIES]
        frames, functions = self._frames, list(self._functions)
        absent = ["null"] * len(frames)
        codes = [label.code for label in frames]
        columns: dict[str, Iterable[str]] = {
            "address": [str(code.address) if code and code.module else "-1" for code in codes],
            "inlineDepth": [str(code.inline_depth) if code else "0" for code in codes],
            "category": [str(names.index(_CATEGORY_OF_KIND[label.kind])) for label in frames],
            "subcategory": ["0"] * len(frames),
            "func": map(str, self._function_of_frame),
            "nativeSymbol": absent,
            "innerWindowID": ["0"] * len(frames),
            "line": [_text(label.at) for label in frames],
            "column": absent,
        }
        _write_table(stream, "frameTable", columns, len(frames))
        false, absent = ["false"] * len(functions), ["null"] * len(functions)
        labels = [label for label, _ in functions]
        columns = {
            "name": [str(self.string(label.name)) for label in labels],
            "isJS": false,
            "relevantForJS": false,
            "resource": [str(library) for _, library in functions],
            "source": [_text(self._sources.get(label.file)) for label in labels],
            "lineNumber": [_text(label.first_line) for label in labels],
            "columnNumber": absent,
        }
        _write_table(stream, "funcTable", columns, len(functions))
        # A resource per library, so both have the same index.
        modules = [self.string(_file_name(module)) for module, _ in self._libraries]
        columns = {
            "lib": map(str, range(len(modules))),
            "name": map(str, modules),
            "host": ["null"] * len(modules),
            "type": [str(_LIBRARY)] * len(modules),
        }
        _write_table(stream, "resourceTable", columns, len(modules))
        # Where functions begin in their files is not known, so there are no symbols.
        symbols: dict[str, Iterable[str]] = dict.fromkeys(
            ("libIndex", "address", "name", "functionSize"), ()
        )
        _write_table(stream, "nativeSymbols", symbols, 0)
        count = len(self._sources)
        columns = {
            "id": ["null"] * count,
            "filename": [str(self.string(file)) for file in self._sources],
            "startLine": ["1"] * count,
            "startColumn": ["1"] * count,
            "sourceMapURL": ["null"] * count,
        }
        _write_table(stream, "sources", columns, count)
        stream.write('"stringArray":')
        write_array(stream, map(_text, self._strings))


class _Thread:
    """A thread with its samples and markers."""

    def __init__(
        self,
        recording: Recording,
        profile: Profile,
        track: Track,
        grouping: Grouping,
        tables: _Tables,
    ) -> None:
        self._recording = recording
        self._profile = profile
        self._track = track
        self._grouping = grouping
        self._tables = tables

    def write(self, stream: TextIO, pid: str, mode: Mode) -> None:
        profile, who = self._profile, self._track.identity
        process, has_exited = profile.process, profile.process.end_reason == "target_exited"
        fields = {
            "processType": "default",
            "processName": process_name(process.command),
            "processStartupTime": self._ms(profile.start_ns),
            "processShutdownTime": self._ms(profile.end_ns) if has_exited else None,
            "registerTime": self._ms(self._track.start_ns),
            "unregisterTime": None,
            "pausedRanges": [],
            "showMarkersInTimeline": True,
            "name": thread_title(who),
            "isMainThread": who.tid == who.pid,
            "pid": pid,
            "tid": who.tid or who.pid,
        }
        stream.write(_text(fields)[:-1] + ',"samples":{"weightType":"tracing-ms",')
        times, stacks, weights, cpu = self._samples(mode)
        columns: dict[str, Iterable[str]] = {
            "time": map(milliseconds, times),
            # Stack 0 is the empty one, which viewers have no row for.
            "stack": ("null" if stack == EMPTY_STACK else str(stack - 1) for stack in stacks),
            "weight": map(milliseconds, weights),
        }
        if was_measured("cpu", self._track.states):
            columns["threadCPUDelta"] = map(str, cpu)
        _write_columns(stream, columns, len(times))
        stream.write('},"markers":{')
        markers = MarkerTable(self._tables.string)
        if not self._recording.time_resolution_ns:
            markers.add_all(self._track, self._recording.start_ns, self._reason)
        _write_columns(stream, markers.columns(), len(markers))
        stream.write("}}")

    def _reason(self, run: Run) -> str:
        label = self._grouping.wait_of_run(self._profile, run)
        return label.name if label is not None else "unknown"

    def _ms(self, time_ns: int) -> float:
        return (time_ns - self._recording.start_ns) / 1e6

    def _samples(self, mode: Mode) -> list[array[int]]:
        """Columns: time, stack, weight, and the CPU time since the sample before."""
        columns = [array("q") for _ in range(4)]
        cpu_ns = end_ns = 0
        for run in self._track.runs():
            time_ns = time_in_mode(mode, run)
            stack = self._grouping.stack_of_run(self._profile, run) if time_ns else EMPTY_STACK
            begin_ns = run.start_ns - self._recording.start_ns
            for column, value in zip(columns, (begin_ns, stack, time_ns, cpu_ns), strict=True):
                column.append(value)
            cpu_ns, end_ns = run.cpu_ns, begin_ns + run.weight_ns
        if self._track.run_count:
            # The end of the last one, with its CPU time.
            for column, value in zip(columns, (end_ns, EMPTY_STACK, 0, cpu_ns), strict=True):
                column.append(value)
        return columns


def _distinct_pids(recording: Recording) -> dict[Profile, str]:
    """The pid of each process; with a number where several have the same, as in merged recordings."""
    counts: dict[int, int] = {}
    pids = {}
    for profile in recording.profiles:
        pid = profile.process.pid
        counts[pid] = counts.get(pid, 0) + 1
        pids[profile] = f"{pid}.{counts[pid]}" if counts[pid] > 1 else str(pid)
    return pids


def _stack_columns(grouping: Grouping, frames: list[int]) -> dict[str, Iterable[str]]:
    stacks = range(1, len(grouping.parent))
    return {
        "frame": [str(frames[grouping.frame[stack]]) for stack in stacks],
        "prefix": [
            str(grouping.parent[stack] - 1) if grouping.parent[stack] else "null"
            for stack in stacks
        ],
    }


def _library(module: str, build_id: str) -> dict[str, Any]:
    name = _file_name(module)
    return {
        "arch": "",
        "name": name,
        "path": module,
        "debugName": name,
        "debugPath": module,
        "breakpadId": _breakpad_id(build_id),
        "codeId": build_id or None,
    }


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _breakpad_id(build_id: str) -> str:
    """The first 16 bytes of a build ID as a GUID (its first three fields are little-endian), and an age."""
    try:
        data = bytes.fromhex(build_id).ljust(16, b"\0")[:16]
    except ValueError:
        return ""
    if not build_id:
        return ""
    guid = data[3::-1] + data[5:3:-1] + data[7:5:-1] + data[8:]
    return guid.hex().upper() + "0"


def _write_table(
    stream: TextIO, name: str, columns: dict[str, Iterable[str]], length: int | None = None
) -> None:
    if length is None:
        length = len(list(next(iter(columns.values()))))
    stream.write(f'"{name}":{{')
    _write_columns(stream, columns, length)
    stream.write("},\n")


def _write_columns(stream: TextIO, columns: dict[str, Iterable[str]], length: int) -> None:
    for name, values in columns.items():
        stream.write(f'"{name}":')
        write_array(stream, values)
        stream.write(",")
    stream.write(f'"length":{length}')


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
