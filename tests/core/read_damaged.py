"""Reads a core many times, each time damaged otherwise: read_damaged.py CORE COPY KIND FIRST COUNT

KIND is "cut" or "changed". For each number, one line of JSON goes to stdout: what came out of it.
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
from pystack.render.json import render_json
from pystack.render.text import render_text

MAX_MEMORY_BYTES = 500 << 20
MAX_SECONDS = 10.0
RENDER_EVERY = 10
HEAD_BYTES = 0x1000
PT_LOAD = 1


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


def notes_end(data: bytes) -> int:
    """Where the memory begins: the offset of the first LOAD segment."""
    begin, count = struct.unpack_from("<Q", data, 0x20)[0], struct.unpack_from("<H", data, 0x38)[0]
    headers = (struct.unpack_from("<IIQ", data, begin + index * 56) for index in range(count))
    return min(int(offset) for kind, _, offset in headers if kind == PT_LOAD)


def read(path: Path, number: int) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        snapshot = pystack.dump_core(path)
        if number % RENDER_EVERY == 0:
            render_json(snapshot)
            for line in render_text(snapshot):
                assert line.isprintable(), line
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
            [thread.tid, thread.stack_end, [[*frame] for frame in thread.frames]]
            for thread in snapshot.threads
        ],
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
                    for place, new in changes(number, data):
                        written.append((place, len(new)))
                        memory[place : place + len(new)] = new
                    result = read(copy, number)
                    for place, length in written:
                        memory[place : place + length] = data[place : place + length]
            print(json.dumps(result), flush=True)


main()
