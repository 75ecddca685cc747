"""Damage to the structures of an interpreter, in a process or in a core of it.

    with structured_target(interpreter, folder) as (target, structures):
        damage = Damage(structures, read)
        for address, content in damage.draw(random.Random(1)): ...

The program `structured.py` says where its structures are. What is written there is what an
attacker would write: pointers to structures of the same kind (rings) and of another, impossible
sizes, numbers at the edge of their types, hostile text, and lists of thousands of forged elements.
"""

from __future__ import annotations

import collections
import contextlib
import json
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from process_state import run_state, thread_ids, wait_until
from targets import PROGRAMS, Interpreter, Target

PROGRAM = "structured.py"
WORD = 8
FORGED_KINDS = ("thread", "frame", "frame object")
MAX_FORGED_LISTS = 4
STACK_BYTES = 4096
# The C library's data of a thread, which ends its stack, begins below its address. The kernel, too,
# writes there.
STACK_END_BYTES = 0x800
MAX_CHANGES = 64
# Chance that one damage is also a forged list.
FORGED_SHARE = 0.1

# Chance of each kind to be damaged. The bigger ones have many words that nobody reads.
KIND_WEIGHTS = {
    "frame": 6,
    "frame object": 3,
    "code": 6,
    "part of code": 6,
    "type": 4,
    "part of type": 3,
    "dict": 4,
    "keys": 4,
    "object": 5,
    "part of object": 3,
    "thread": 5,
    "interpreter": 2,
    "runtime": 2,
    "stack": 4,
}
WAYS = {"link": 8, "edge": 4, "size": 3, "flip": 3, "moved word": 4, "near": 3, "text": 1, "run": 1}
EDGES = (
    0,
    1,
    7,
    8,
    255,
    -1,
    -8,
    2**31 - 1,
    2**31,
    2**32,
    2**47,
    2**47 - 8,
    2**62,
    2**63 - 1,
    2**63,
)
SIZES = (0, -1, 1000, 10**5, 10**7, 16 << 20, 2**31, 2**40, 2**60, 2**63 - 1)
TEXTS = (b"\x1b]0;x\x07", b"\r\n\x1b[2J", b"\xff\xfe\x00\x80", b"\xe2\x80\xae\x9b", b"../../..")
SIZE_OFFSETS = (8, 16, 24)

ReadMemory = Callable[[int, int], bytes]
Change = tuple[int, bytes]


class Region(NamedTuple):
    kind: str
    address: int
    size: int


class Structures(NamedTuple):
    regions: list[Region]
    #: Memory for forged structures, which nothing points to yet: address and size.
    arena: tuple[int, int]


@contextlib.contextmanager
def structured_target(
    interpreter: Interpreter, folder: Path, **popen: Any
) -> Iterator[tuple[Target, Structures]]:
    """The program after it has said what it is made of; its threads are in C for ever."""
    told = folder / "structures.json"
    told.unlink(missing_ok=True)
    with interpreter.spawn(
        [str(PROGRAMS / PROGRAM), str(told)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={"MALLOC_ARENA_MAX": "1"},
        **popen,
    ) as target:
        wait_until(told.exists, f"{PROGRAM} says where its structures are")
        document = json.loads(told.read_text())
        wait_until(lambda: run_state(target.pid, target.pid) == "S", "the main thread sleeps")
        regions = [Region(*each) for each in document["regions"]]
        yield (
            target,
            Structures(
                [*regions, *stacks(target.pid, document["threads"])], tuple(document["arena"])
            ),
        )


def stacks(pid: int, threads: list[int]) -> Iterator[Region]:
    """The ends of the stacks of the threads that sleep, which they will not return to."""
    for tid in thread_ids(pid):
        words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
        if words[0] == "running":
            continue
        pointer = int(words[-2], 16)
        # The main thread's data is elsewhere, and its stack is followed by the environment.
        end = min((each for each in threads if each > pointer), default=pointer + (1 << 30))
        size = min(STACK_BYTES, end - STACK_END_BYTES - pointer) & ~(WORD - 1)
        if size > 0:
            yield Region("stack", pointer, size)


class Damage:
    """Draws damages: lists of changes that belong together, to be undone before the next."""

    def __init__(self, structures: Structures, read: ReadMemory) -> None:
        self._content = {region: read(region.address, region.size) for region in structures.regions}
        self._by_kind: dict[str, list[Region]] = collections.defaultdict(list)
        for region in structures.regions:
            self._by_kind[region.kind].append(region)
        self._kinds = [kind for kind in self._by_kind if kind in KIND_WEIGHTS]
        self._weights = [KIND_WEIGHTS[kind] for kind in self._kinds]
        self._links = dict(self._find_links(structures.regions))
        self._lists: list[tuple[int, int, bytes]] = list(self._forge(structures.arena))

    @property
    def arena_content(self) -> list[Change]:
        """The forged lists, to be written once."""
        return [(address, content) for address, _, content in self._lists]

    def draw(self, numbers: random.Random) -> list[Change]:
        changes = []
        if numbers.random() < FORGED_SHARE and self._lists:
            changes += self._into_a_list(numbers)
        # Few, or nothing is left of what is behind the first that makes no sense.
        for _ in range(int(MAX_CHANGES ** numbers.random())):
            kind = numbers.choices(self._kinds, self._weights)[0]
            changes.append(self._change(numbers.choice(self._by_kind[kind]), numbers))
        return changes

    def _change(self, region: Region, numbers: random.Random) -> Change:
        content = self._content[region]
        offset = numbers.randrange(region.size // WORD) * WORD
        address = region.address + offset
        way = numbers.choices(list(WAYS), list(WAYS.values()))[0]
        if way == "link":
            links = self._links.get(region)
            if links:
                offset, kind = numbers.choice(links)
                same = self._by_kind[
                    kind if numbers.random() < 0.7 else numbers.choice(self._kinds)
                ]
                return region.address + offset, word(numbers.choice(same).address)
        if way == "size":
            offsets = [each for each in SIZE_OFFSETS if each + WORD <= region.size]
            if offsets:
                return region.address + numbers.choice(offsets), word(numbers.choice(SIZES))
        if way == "flip":
            at = offset + numbers.randrange(WORD)
            return region.address + at, bytes([content[at] ^ 1 << numbers.randrange(8)])
        if way == "moved word":
            source = numbers.choice(self._by_kind[numbers.choice(self._kinds)])
            at = numbers.randrange(source.size // WORD) * WORD
            return address, self._content[source][at : at + WORD]
        if way == "near":
            (value,) = struct.unpack_from("<Q", content, offset)
            return address, word(value + numbers.choice((-8, -1, 1, 8, 16, 4096, 1 << 20)))
        if way == "text":
            return address, numbers.choice(TEXTS)[: region.size - offset]
        if way == "run":
            size = min(numbers.choice((16, 64, 256)), region.size - offset)
            return address, numbers.choice((b"\0", b"\xff", b"A", numbers.randbytes(1))) * size
        return address, word(numbers.choice(EDGES))

    def _find_links(self, regions: list[Region]) -> Iterator[tuple[Region, list[tuple[int, str]]]]:
        """Where a structure points to another, and of which kind that is."""
        starts = {region.address: region.kind for region in regions}
        for region in regions:
            words = struct.unpack_from(f"<{region.size // WORD}Q", self._content[region])
            links = [
                (index * WORD, starts[each]) for index, each in enumerate(words) if each in starts
            ]
            if links:
                yield region, links

    def _forge(self, arena: tuple[int, int]) -> Iterator[tuple[int, int, bytes]]:
        """For each kind that is linked to its own: thousands of copies in a row, and then a ring.

        Gives address, offset of the link, and content.
        """
        chained: dict[tuple[str, int], Region] = {}
        for wanted in FORGED_KINDS:
            for region in self._by_kind[wanted]:
                for offset, kind in self._links.get(region, ()):
                    if kind == wanted and len(chained) < MAX_FORGED_LISTS:
                        chained.setdefault((kind, offset), region)
        begin, size = arena
        share = size // max(1, len(chained)) & ~0xFFF
        for index, ((_, offset), region) in enumerate(chained.items()):
            address = begin + index * share
            content = bytearray(self._content[region] * (share // region.size))
            count = len(content) // region.size
            for each in range(count):
                following = address + (each + 1) % count * region.size
                struct.pack_into("<Q", content, each * region.size + offset, following)
            yield address, offset, bytes(content)

    def _into_a_list(self, numbers: random.Random) -> list[Change]:
        """Makes structures point to a forged list."""
        address, offset, _ = numbers.choice(self._lists)
        regions = [
            region
            for region, links in self._links.items()
            if any(at == offset and kind == region.kind for at, kind in links)
        ]
        chosen = numbers.sample(regions, min(len(regions), numbers.randint(1, 3)))
        return [(region.address + offset, word(address)) for region in chosen]


def word(value: int) -> bytes:
    return struct.pack("<Q", value % 2**64)
