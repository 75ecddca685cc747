"""Reads a core many times, each time damaged otherwise: read_damaged.py CORE COPY KIND FIRST COUNT

KIND is "cut", "changed", or "heap": changed in writable memory only, and read with variables and
without. For each number, one line of JSON goes to stdout: what came out of it.
Memory and the time of each reading are limited; the last line is that of the damage that broke a
limit.
"""

from __future__ import annotations

import json
import mmap
import random
import resource
import shutil
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystack
from pystack.model import Frame
from pystack.render.escape import escape
from pystack.render.json import render_json
from pystack.render.text import render_text

MAX_MEMORY_BYTES = 500 << 20
MAX_SECONDS = 10.0
RENDER_EVERY = 10
HEAD_BYTES = 0x1000
NO_VARIABLES: dict[str, Any] = {
    "variables": None,
    "variables_omitted": 0,
    "variables_problem": None,
}
PAGE = 0x1000
PT_LOAD = 1
PF_W = 2
EDGES = [
    struct.pack("<Q", value % 2**64)
    for value in (0, 1, 7, 255, -1, -8, 2**31 - 1, 2**32, 2**63 - 1, 2**63, 1 << 47)
]


Places = list[tuple[int, int]]


def changes(number: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Where to write what: wild bytes, words that are at home elsewhere in the core, whole runs."""
    random_of = random.Random(number)
    size = len(data)
    kind = number % 5
    if kind == 0:
        # Headers and notes.
        for _ in range(random_of.randint(1, 8)):
            yield random_of.randrange(16, notes_end(data)), random_of.randbytes(1)
    elif kind == 1:
        for _ in range(random_of.randint(1, 2000)):
            yield random_of.randrange(size), random_of.randbytes(1)
    elif kind in (2, 3):
        # Pointers to the wrong objects.
        for _ in range(random_of.randint(100, 5000)):
            source = random_of.randrange(size // 8 - 1) * 8
            word = data[source : source + 8]
            if word.count(0) < 6:
                yield random_of.randrange(notes_end(data) // 8, size // 8 - 1) * 8, word
    else:
        for _ in range(random_of.randint(1, 50)):
            length = random_of.randint(1, 5000)
            fill = random_of.choice([b"\0", b"\xff", b"\x41", random_of.randbytes(1)])
            yield random_of.randrange(HEAD_BYTES, size - length), fill * length


def heap_changes(number: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The same within the writable segments: bits, sizes, pointers, types, runs."""
    random_of = random.Random(number)
    segments = writable_segments(data)
    weights = [size for _, size in segments]

    def place() -> int:
        begin, size = random_of.choices(segments, weights)[0]
        return begin + random_of.randrange(size // 8) * 8

    kind = number % 4
    for _ in range(random_of.randint(1, 5000)):
        at = place()
        if kind == 0:
            yield at + random_of.randrange(8), random_of.randbytes(1)
        elif kind == 1:
            yield at, random_of.choice(EDGES)
        elif kind == 2:
            source = place()
            yield at, data[source : source + 8]
        elif random_of.random() < 0.01:
            yield at, random_of.choice([b"\0", b"\xff", b"\x41"]) * 8 * random_of.randint(1, 4)


def load_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Flags, offset in the file and size there of the memory in the core."""
    begin, count = struct.unpack_from("<Q", data, 0x20)[0], struct.unpack_from("<H", data, 0x38)[0]
    for index in range(count):
        kind, flags, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, begin + index * 56)
        if kind == PT_LOAD:
            yield flags, offset, size


def writable_segments(data: bytes) -> Places:
    """Without their last page, which runs may reach into."""
    return [
        (offset, size - PAGE)
        for flags, offset, size in load_segments(data)
        if flags & PF_W and size > PAGE
    ]


def notes_end(data: bytes) -> int:
    """Where the memory begins: the offset of the first LOAD segment."""
    return min(offset for _, offset, _ in load_segments(data))


def read(path: Path, number: int, variables: pystack.Locals | None = None) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        snapshot = pystack.dump_core(path, locals=variables)
        if number % RENDER_EVERY == 0:
            render_json(snapshot)
            for line in render_text(snapshot):
                assert escape(line) == line
    except pystack.PystackError as error:
        sentence = str(error).replace(str(path), "CORE")
        return {"error": type(error).__name__, "exit_code": error.exit_code, "sentence": sentence}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert snapshot.core is not None
    return {
        "error": None,
        "truncated": snapshot.core.truncated,
        "missing_bytes": snapshot.core.missing_bytes,
        "problems": snapshot.problems,
        "threads": [
            [
                thread.tid,
                thread.stack_end,
                [
                    [*frame._replace(**NO_VARIABLES).to_json_dict().values()]
                    for frame in thread.frames
                ],
            ]
            for thread in snapshot.threads
        ],
        "unreadable": sum(
            "<unreadable" in (variable.value or "")
            for thread in snapshot.threads
            for frame in thread.frames
            if isinstance(frame, Frame)
            for variable in frame.variables or ()
        ),
    }


def main() -> None:
    original, copy, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    first, count = int(sys.argv[4]), int(sys.argv[5])
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    data = original.read_bytes()
    shutil.copy(original, copy)
    with copy.open("r+b") as file:
        for number in range(first, first + count):
            print(number, end=" ", flush=True)
            if kind == "cut":
                # Headers are small and matter much.
                size = int(len(data) * random.Random(number).random() ** (1 + 4 * (number % 2)))
                copy.write_bytes(data[:size])
                result = {"size": size, **read(copy, number)}
            else:
                with mmap.mmap(file.fileno(), len(data)) as memory:
                    written = []
                    for place, new in (heap_changes if kind == "heap" else changes)(number, data):
                        written.append((place, len(new)))
                        memory[place : place + len(new)] = new
                    result = read(copy, number, pystack.Locals() if kind == "heap" else None)
                    if kind == "heap":
                        result["threads_without_locals"] = read(copy, number).get("threads")
                    for place, length in written:
                        memory[place : place + length] = data[place : place + length]
            print(json.dumps(result), flush=True)


main()
