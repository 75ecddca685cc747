"""Threads that wait for each other: deadlocks.py FACTS_FILE KIND

The facts have the circle: the names of its threads, each of which waits for the next.
"""

import json
import os
import sys
import threading

from _libc import libc_version
from _sections import section, section_in_section

FACTS_FILE, KIND = sys.argv[1:]
READY = threading.Barrier(3 if KIND == "three" else 2)


def crossed(first, second):
    with first:
        READY.wait()
        with second:
            pass


def locks(make, count):
    made = [make() for _ in range(count)]
    return [(crossed, (made[i], made[(i + 1) % count])) for i in range(count)]


def plain():
    return locks(threading.Lock, 2)


def recursive():
    return locks(threading.RLock, 2)


def three():
    return locks(threading.Lock, 3)


def mixed():
    one, other = threading.Lock(), threading.Condition()
    return [(crossed, (one, other)), (crossed, (other, one))]


def itself():
    lock = threading.Lock()

    def twice():
        with lock:
            with lock:
                pass

    return [(twice, ())]


def managed():
    """By functions that have the with block, and are suspended in it."""

    def crossed_sections(first, second):
        with section_in_section(first):
            READY.wait()
            with section(second):
                pass

    return [(crossed_sections, arguments) for _, arguments in locks(threading.Lock, 2)]


def joined():
    def join(number):
        READY.wait()
        THREADS[1 - number].join()

    return [(join, (0,)), (join, (1,))]


def lock_and_join():
    lock = threading.Lock()

    def hold():
        with lock:
            READY.wait()
            THREADS[1].join()

    def take():
        READY.wait()
        with lock:
            pass

    return [(hold, ()), (take, ())]


def held_after_an_exception():
    """The exception of the first block was handled; another thread may have its lock."""
    one, other, third = threading.Lock(), threading.Lock(), threading.Lock()

    def fail(first, second):
        try:
            with third:
                raise ValueError
        except ValueError:
            with first:
                READY.wait()
                with second:
                    pass

    return [(fail, (one, other)), (fail, (other, one))]


def mutexes():
    """Of native code: the circle has a pthread mutex and a lock of Python."""
    if libc_version() is None:
        return plain()
    import ctypes  # noqa: PLC0415

    libc, mutex, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64), threading.Lock()
    if libc_version() == "musl":  # Only such a mutex has its owner there.
        attributes = ctypes.create_string_buffer(16)
        libc.pthread_mutexattr_init(attributes)
        libc.pthread_mutexattr_settype(attributes, 1)  # PTHREAD_MUTEX_RECURSIVE
        libc.pthread_mutex_init(mutex, attributes)

    def mutex_first():
        libc.pthread_mutex_lock(mutex)
        READY.wait()
        with lock:
            pass

    def lock_first():
        with lock:
            READY.wait()
            libc.pthread_mutex_lock(mutex)

    return [(mutex_first, ()), (lock_first, ())]


def not_one():
    """Each waits for a lock, but one wait ends by itself."""
    one, other = threading.Lock(), threading.Lock()

    def patient():
        with one:
            READY.wait()
            with other:
                pass

    def impatient():
        with other:
            READY.wait()
            one.acquire(timeout=100000)

    return [(patient, ()), (impatient, ())]


THREADS = [
    threading.Thread(target=function, args=arguments, name="thread-%d" % number, daemon=True)
    for number, (function, arguments) in enumerate(globals()[KIND]())
]
for thread in THREADS:
    thread.start()
with open(FACTS_FILE + ".part", "w") as file:
    circle = [] if KIND == "not_one" else [thread.name for thread in THREADS]
    json.dump({"circle": circle, "threads": len(THREADS) + 1}, file)
os.rename(FACTS_FILE + ".part", FACTS_FILE)
os.read(os.pipe()[0], 1)
