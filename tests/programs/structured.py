"""Says where its own interpreter's structures lie, and then never runs Python again.

Usage: structured.py FILE

All of its threads are inside C functions that never return, so everything that is Python's can be
rewritten under it, or in a core of it, without any harm to the process itself. Most of them sleep;
one spins, so that a recorder has something to look at.

FILE becomes JSON: "regions" are [kind, address, size], "arena" is memory for forged structures,
"threads" are where the C library's data of each thread is, which ends its stack.
"""

import asyncio
import ctypes
import datetime
import decimal
import enum
import json
import mmap
import os
import sys
import threading

LIBC = ctypes.CDLL(None)
API = ctypes.pythonapi
API.PyThreadState_Get.restype = ctypes.c_void_p

if sys.version_info >= (3, 8):
    CURRENT = "PyInterpreterState_Get" if sys.version_info >= (3, 9) else "_PyInterpreterState_Get"
    INTERPRETER = getattr(API, CURRENT)
    INTERPRETER.restype = ctypes.c_void_p

# Room for four lists that are longer than the reader's limits, written to only by the attacker.
ARENA_BYTES = 64 << 20
HEAD_BYTES = 512
PART_BYTES = 64
# What of a structure is rewritten: more of it would be, of the big ones, mostly what nobody reads.
MOST_BYTES = {
    "runtime": 4096,
    "interpreter": 16384,
    "thread": 512,
    "code": 1024,
    "dict": 1024,
    "keys": 4096,
    "type": 512,
}

FRAMES = []
THREAD_STATES = []
THREADS = []
VALUES = []
LOCK = threading.Lock()


class Colour(enum.Enum):
    RED = 1


class Plain(object):
    kind = "plain"

    def __init__(self, number):
        self.number = number
        self.text = "an attribute"
        self.password = "hunter2"


class Slotted(object):
    __slots__ = ("first", "second")

    def __init__(self):
        self.first = 1
        self.second = [2]


class Derived(dict):
    pass


def values():
    return [
        *(
            1,
            -(1 << 200),
            2.5,
            3j,
            True,
            None,
            "ascii",
            "\u00e9t\u00e9",
            "\u65e5\u672c",
            "\U0001f600",
        ),
        *(b"bytes", bytearray(b"bytes"), [1, [2, [3]]], (1, (2, (3,))), {1, 2, 3}, frozenset("ab")),
        *({"a": 1, "b": {"c": [2]}}, Derived(x=1), dict.fromkeys(range(300), "v"), range(9)),
        *(Colour.RED, Plain(7), Slotted(), datetime.datetime(2026, 1, 2, 3, 4, 5, 6), slice(1, 2)),
        *(datetime.timedelta(days=1), decimal.Decimal("1.5"), ValueError("wrong"), values, Plain),
        *(os.path, len, [].append, "long " * 500, list(range(500)), memoryview(b"view")),
    ]


def remember(frame):
    thread_state = API.PyThreadState_Get()
    with LOCK:
        THREADS.append(threading.get_ident())
        THREAD_STATES.append(thread_state)
        while frame is not None:
            FRAMES.append(frame)
            frame = frame.f_back


def stay(stop):
    kept = values()
    with LOCK:
        VALUES.extend(kept)
    remember(sys._getframe())
    stop()


def descend(depth, stop, argument="text", *rest, **options):
    pairs = {"depth": depth, "argument": argument}
    if depth > 0:
        descend(depth - 1, stop, [depth], pairs, key=pairs)
    else:
        stay(stop)


def generator(stop):
    yield 1
    descend(3, stop)


def delegates(stop):
    yield from generator(stop)


def generates(stop):
    for _ in delegates(stop):
        pass


def handles(stop):
    try:
        raise KeyError("outer")
    except KeyError:
        try:
            raise ValueError("inner")
        except ValueError:
            descend(2, stop)


class Class(object):
    def method(self, stop):
        [self.again(each) for each in [stop]]

    def again(self, stop):
        # Through C, so this is a second activation of the interpreter's loop.
        max([stop], key=lambda each: descend(4, each))


async def inner(stop):
    descend(1, stop)


async def outer(stop):
    await inner(stop)


def runs_tasks(stop):
    asyncio.new_event_loop().run_until_complete(outer(stop))


def spinner():
    """Locks a spin lock that is locked: needs a CPU for ever, but neither the GIL nor memory."""
    lock = (ctypes.c_int * 16)()
    LIBC.pthread_spin_init(lock, 0)
    LIBC.pthread_spin_lock(lock)
    return lambda: LIBC.pthread_spin_lock(lock)


def word_at(address):
    return ctypes.c_size_t.from_address(address).value


def writable_memory():
    """What may be rewritten: nothing of the C library or the dynamic linker."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.split(None, 5)
            path = os.path.basename(fields[5].strip()) if len(fields) > 5 else ""
            if fields[1].startswith("rw") and not path.startswith(("libc.", "libc-", "ld-")):
                begin, end = fields[0].split("-")
                yield int(begin, 16), int(end, 16)


class Regions(object):
    def __init__(self):
        self.memory = list(writable_memory())
        self.found = {}

    def is_writable(self, address, size):
        return any(begin <= address and address + size <= end for begin, end in self.memory)

    def add(self, kind, address, size):
        size = min(size, MOST_BYTES.get(kind, HEAD_BYTES)) & ~7
        if address not in self.found and self.is_writable(address, size):
            self.found[address] = [kind, address, size]

    def add_parts(self):
        """The heads of whatever else these point to."""
        for kind, address, size in list(self.found.values()):
            if kind in ("object", "type", "code"):
                for offset in range(0, size, 8):
                    word = word_at(address + offset)
                    if word % 8 == 0:
                        self.add("part of " + kind, word, PART_BYTES)

    def add_object(self, value):
        address = id(value)
        if isinstance(value, type):
            self.add("type", address, type(value).__basicsize__)
            return
        if isinstance(value, dict):
            self.add("dict", address, 48)
            self.add("keys", word_at(address + 32), sys.getsizeof(value))
        else:
            self.add("object", address, value.__sizeof__())
        self.add_object(type(value))

    def add_frame(self, frame):
        address = id(frame)
        self.add("frame object", address, frame.__sizeof__())
        if sys.version_info >= (3, 11):
            self.add("frame", word_at(address + object.__basicsize__ + 8), 256)
        self.add("code", id(frame.f_code), frame.f_code.__sizeof__())
        self.add_object(frame.f_globals)


def runtime_address():
    return ctypes.addressof(ctypes.c_char.in_dll(API, "_PyRuntime"))


def tell(path, arena):
    regions = Regions()
    for address in THREAD_STATES:
        regions.add("thread", address, 512)
    if sys.version_info >= (3, 8):
        regions.add("interpreter", INTERPRETER(), 1 << 20)
        regions.add("runtime", runtime_address(), 1 << 20)
    for frame in FRAMES:
        regions.add_frame(frame)
    for value in VALUES:
        regions.add_object(value)
    for kind in (
        int,
        str,
        bytes,
        tuple,
        list,
        set,
        frozenset,
        dict,
        float,
        bool,
        type,
        type(values),
    ):
        regions.add_object(kind)
    regions.add_parts()
    with open(path + ".part", "w") as file:
        document = {"regions": list(regions.found.values()), "arena": arena, "threads": THREADS}
        json.dump(document, file)
    os.rename(path + ".part", path)


def main():
    memory = mmap.mmap(-1, ARENA_BYTES)
    arena = [ctypes.addressof(ctypes.c_char.from_buffer(memory)), ARENA_BYTES]
    starts = [generates, handles, Class().method, runs_tasks, lambda stop: descend(40, stop)]
    for index, start in enumerate(starts):
        stop = spinner() if start is handles else LIBC.pause
        threading.Thread(target=start, args=(stop,), name="thread %d" % index, daemon=True).start()
    while len(THREAD_STATES) < len(starts):
        pass
    remember(sys._getframe())
    VALUES.extend(values())
    # Nobody may want the GIL any more, or would run Python after its memory was rewritten.
    LIBC.usleep(50000)
    tell(sys.argv[1], arena)
    # Where its core will be.
    os.chdir(os.path.dirname(sys.argv[1]))
    LIBC.pause()


main()
