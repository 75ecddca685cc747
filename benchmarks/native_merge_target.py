"""C functions that call Python functions in a loop, for `native_merge.py`. Also runs on 3.6.

    native_merge_target.py READY FOLDER [NUMPY]

READY is created when the loop begins. FOLDER contains the extension module of the tests. Without it, that
part is skipped, as is numpy.
"""

import functools
import sys
from pathlib import Path

try:
    import ctypes
except ImportError:
    ctypes = None
try:
    import sqlite3
except ImportError:
    sqlite3 = None

sys.path[:0] = sys.argv[2:]
try:
    import native_ext
except ImportError:
    native_ext = None
try:
    import numpy
except ImportError:
    numpy = None


def spin():
    total = 0
    for number in range(60):
        total += number * number
    return total


def key(item):
    return spin()


def by_sorted():
    sorted(range(8), key=key)


def add(left, right):
    return spin()


def by_reduce():
    functools.reduce(add, range(8))


class Item:
    def __lt__(self, other):
        return spin() < 0


def by_comparison():
    [Item(), Item(), Item(), Item()].sort()


def change(item):
    return spin()


def generate():
    for _ in range(4):
        yield spin()


def by_map():
    list(map(change, generate()))


def scalar(value):
    return spin()


def by_sqlite():
    connection.execute("select scalar(n) from numbers").fetchall()


def compare(left, right):
    return spin() & 1


def by_qsort():
    libc.qsort(numbers, len(numbers), ctypes.sizeof(ctypes.c_int), comparison)


def level_3():
    spin()


def level_2():
    for _ in range(2):
        native_ext.call_template(level_3)


def level_1():
    for _ in range(2):
        native_ext.call_double(level_2)


def by_extension():
    for _ in range(2):
        native_ext.call_int(level_1)


def in_thread():
    for _ in range(4):
        sorted(range(2), key=key)


def by_thread():
    native_ext.call_in_thread(in_thread)


def by_numpy():
    numpy.matmul(matrix, matrix, out=product)


scenes = [by_sorted, by_reduce, by_comparison, by_map]
if sqlite3 is not None:
    connection = sqlite3.connect(":memory:")
    connection.create_function("scalar", 1, scalar)
    connection.execute("create table numbers (n)")
    connection.executemany("insert into numbers values (?)", [(n,) for n in range(8)])
    scenes.append(by_sqlite)
if ctypes is not None:
    libc = ctypes.CDLL(None)
    numbers = (ctypes.c_int * 6)(*range(6))
    comparison = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compare)
    scenes.append(by_qsort)
if native_ext is not None:
    scenes += [by_extension, by_thread]
if numpy is not None:
    matrix = numpy.full((200, 200), 0.5)
    product = numpy.empty_like(matrix)
    scenes.append(by_numpy)


def mix():
    while True:
        for scene in scenes:
            scene()


partial = Path(sys.argv[1] + ".new")
partial.write_text(" ".join(scene.__name__ for scene in scenes))
partial.rename(sys.argv[1])
mix()
