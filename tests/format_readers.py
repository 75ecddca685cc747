"""Reads our files with readers that know nothing of the exporters: the self time of each function in each thread."""

from __future__ import annotations

import gzip
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

#: (process, thread, function) -> nanoseconds. Time without a stack is that of "(no stack)", but in speedscope's format, where
#: it fills the time in which there was no sample.
Times = Counter[tuple[str, str, str]]

_PAGE_DATA = re.compile(r'<script type="application/json" id="recording">(.*?)</script>', re.DOTALL)
_SVG = "{http://www.w3.org/2000/svg}"
Fields = list[tuple[int, int | bytes]]


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return number, at


def fields(data: bytes) -> Fields:
    """The fields of a protocol buffer message that has only numbers and bytes."""
    found: Fields = []
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if key & 7 == 2:
            found.append((key >> 3, data[at : at + value]))
            at += value
        else:
            assert key & 7 == 0
            found.append((key >> 3, value))
    return found


def messages(whole: Fields, number: int) -> list[Fields]:
    return [fields(value) for field, value in whole if field == number and isinstance(value, bytes)]


def number(message: Fields, wanted: int) -> int:
    (value,) = [value for field, value in message if field == wanted] or [0]
    assert isinstance(value, int)
    return value


def packed(message: Fields, wanted: int) -> Iterator[int]:
    for field, value in message:
        at = 0
        while field == wanted and isinstance(value, bytes) and at < len(value):
            one, at = read_varint(value, at)
            yield one


class Pprof:
    """A pprof file."""

    def __init__(self, content: bytes) -> None:
        self.whole = fields(gzip.decompress(content))
        self.strings = [
            value.decode() for field, value in self.whole if field == 6 and isinstance(value, bytes)
        ]
        assert self.strings[0] == ""
        functions = {
            number(one, 1): self.strings[number(one, 2)] for one in messages(self.whole, 5)
        }
        #: The functions of each, innermost first.
        self.locations = {
            number(one, 1): [functions[number(line, 1)] for line in messages(one, 4)]
            for one in messages(self.whole, 4)
        }
        self.types = [self.strings[number(one, 1)] for one in messages(self.whole, 1)]
        self.samples = [
            ([*packed(one, 1)], [*packed(one, 2)], self._labels(one))
            for one in messages(self.whole, 2)
        ]

    def _labels(self, sample: Fields) -> dict[str, str | int]:
        return {
            self.strings[number(one, 1)]: self.strings[number(one, 2)] or number(one, 3)
            for one in messages(sample, 3)
        }


def read_pprof(content: bytes, mode: str) -> Times:
    decoded = Pprof(content)
    times: Times = Counter()
    for path, values, labels in decoded.samples:
        thread = f"{labels['thread']} {labels['thread_id']}"
        key = str(labels["process"]), thread, decoded.locations[path[0]][0]
        times[key] += values[decoded.types.index(mode)]
    return times


def read_firefox(content: str, mode: str) -> Times:
    data = json.loads(content)
    shared, times = data["shared"], Counter[tuple[str, str, str]]()
    functions, frames = shared["funcTable"]["name"], shared["frameTable"]["func"]
    for thread in data["threads"]:
        samples = thread["samples"]
        for stack, weight in zip(samples["stack"], samples["weight"], strict=True):
            if stack is not None:
                name = shared["stringArray"][
                    functions[frames[shared["stackTable"]["frame"][stack]]]
                ]
                process = f"{thread['processName']} {thread['pid']}"
                times[process, thread["name"], name] += round(weight * 1e6)
            elif weight:
                times[process, thread["name"], "(no stack)"] += round(weight * 1e6)
    return times


def read_otlp(content: bytes, mode: str) -> Times:
    from opentelemetry.proto.profiles.v1development import profiles_pb2

    data = profiles_pb2.ProfilesData.FromString(content)
    tables, times = data.dictionary, Counter[tuple[str, str, str]]()
    strings = tables.string_table
    for resource in data.resource_profiles:
        about = {one.key: one.value for one in resource.resource.attributes}
        process = f"{about['service.name'].string_value} {about['process.pid'].int_value}"
        for profile in resource.scope_profiles[0].profiles:
            if strings[profile.sample_type.type_strindex] != mode:
                continue
            for sample in profile.samples:
                attributes = {
                    strings[tables.attribute_table[one].key_strindex]: tables.attribute_table[
                        one
                    ].value
                    for one in sample.attribute_indices
                }
                who = attributes["thread.name"].string_value, attributes["thread.id"].int_value
                leaf = tables.stack_table[sample.stack_index].location_indices[0]
                function = tables.location_table[leaf].lines[0].function_index
                name = strings[tables.function_table[function].name_strindex]
                times[process, f"{who[0]} {who[1]}", name] += sum(sample.values)
    return times


def read_speedscope(content: str, mode: str) -> Times:
    data = json.loads(content)
    times: Times = Counter()
    for profile in data["profiles"]:
        thread, _, process = profile["name"].partition(" · ")
        for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
            if stack:
                times[process, thread, data["shared"]["frames"][stack[-1]]["name"]] += weight
    return times


def read_page(content: str, mode: str) -> Times:
    (text,) = _PAGE_DATA.findall(content)
    data = json.loads(text)
    times: Times = Counter()
    names, functions = data["functions"]["name"], data["frames"]["function"]
    for thread in data["threads"]:
        stack = 0
        process = data["processes"][thread["process"]]["title"]
        for step, weight in zip(thread["stack"], thread.get(mode, ()), strict=mode in thread):
            stack += step
            name = "(no stack)"
            if stack:
                name = data["strings"][names[functions[data["stacks"]["frame"][stack - 1]]]]
            times[process, thread["title"], name] += 1000 * weight
    return times


def read_folded(content: str, mode: str) -> Times:
    """Of several processes, with threads as root frames."""
    times: Times = Counter()
    for line in content.splitlines():
        path, _, weight = line.rpartition(" ")
        process, thread, *frames = path.split(";")
        times[process, thread, frames[-1].partition(" (")[0]] += 1000 * int(weight)
    return times


def read_svg(content: str, mode: str) -> Times:
    """Of several processes, with threads as root frames. Only shares of the whole: in parts per billion, and
    those of narrow frames belong to their callers, or to no function ("") if the thread is their caller."""
    rows: dict[float, list[tuple[float, float, str]]] = {}
    for group in ET.fromstring(content).iter(f"{_SVG}g"):
        box = group.find(f"{_SVG}rect")
        assert box is not None
        begin, share = float(group.get("data-x", "")), float(group.get("data-share", ""))
        row = rows.setdefault(float(box.get("y", "")), [])
        row.append((begin, share, group.get("data-name", "")))
    levels = [sorted(rows[y]) for y in sorted(rows)]
    times: Times = Counter()
    for depth, level in enumerate(levels[1:], 1):
        below = levels[depth + 1] if depth + 1 < len(levels) else []
        for begin, share, name in level:
            process, thread = (
                next(
                    title for start, width, title in above if start <= begin + 1e-6 < start + width
                )
                for above in levels[:2]
            )
            end = begin + share
            inner = sum(width for start, width, _ in below if begin - 1e-6 <= start < end - 1e-6)
            times[process, thread, "" if depth == 1 else name] += round((share - inner) * 1e9)
    return times


def read_chrome_trace(content: str, mode: str) -> Times:
    """The time of each event without those inside of it."""
    events = json.loads(content)["traceEvents"]
    names: dict[tuple[str, tuple[int, int]], str] = {}
    stays: dict[tuple[int, int], list[tuple[int, int, str]]] = {}
    for event in events:
        who = event["pid"], event["tid"]
        if event["ph"] == "M":
            names[event["name"], who] = event["args"]["name"]
        else:
            begin, length = round(event["ts"] * 1000), round(event["dur"] * 1000)
            stays.setdefault(who, []).append((begin, -length, event["name"]))
    times: Times = Counter()
    for who, rows in stays.items():
        process, thread = names["process_name", who], names["thread_name", who]
        inside: list[tuple[int, str]] = []  # end and name
        rows.reverse()  # Of equal stays, the outer one was written last.
        for begin, length, name in sorted(rows, key=lambda row: row[:2]):
            while inside and inside[-1][0] <= begin:
                inside.pop()
            if inside:
                assert begin - length <= inside[-1][0]
                times[process, thread, inside[-1][1]] += length
            times[process, thread, name] -= length
            inside.append((begin - length, name))
    return times


def read_callgrind(content: str, mode: str) -> Times:
    """Of all threads. The lines after `calls=` are the costs of what was called."""
    times: Times = Counter()
    events: list[str] = []
    function, is_call = "", False
    for line in content.splitlines():
        key, _, value = line.partition("=")
        if line.startswith("events: "):
            events = line.split()[1:]
        elif key == "fn":
            function = value
        elif line[:1].isdigit():
            if not is_call and mode in events:
                times["", "", function] += int(line.split()[1 + events.index(mode)])
            is_call = False
        is_call = is_call or key == "calls"
    return times


READERS: dict[str, Callable[[Any, str], Times]] = {
    "html": read_page,
    "speedscope": read_speedscope,
    "folded": read_folded,
    "svg": read_svg,
    "pprof": read_pprof,
    "firefox": read_firefox,
    "otlp": read_otlp,
    "chrometrace": read_chrome_trace,
    "callgrind": read_callgrind,
}
