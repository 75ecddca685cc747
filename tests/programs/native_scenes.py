"""C functions that call Python functions: one scene, which blocks in its innermost call.

    native_scenes.py SCENE READY [FOLDER]

READY is written before it blocks; it reads standard input. FOLDER has the extension module, for the
scenes that need it. What calls what is told by the names: every Python function here is called by
the C function before it in EXPECTED (tests/native_scenes.py).
"""

import functools
import os
import sys
import threading
import time

try:
    import ctypes
except ImportError:
    ctypes = None
try:
    import sqlite3
except ImportError:
    sqlite3 = None

ready = sys.argv[2]
sys.path[:0] = sys.argv[3:]
os.chdir(os.path.dirname(ready))  # where the kernel leaves the core


def wait():
    with open(ready + ".new", "w") as file:
        file.write(str(threading.get_ident()))
    os.rename(ready + ".new", ready)
    os.read(0, 1)
    os._exit(0)


# In order of nesting, since each ends in the next: the longest stack has all of them.


def sorted_key():
    def key(item):
        wait()

    sorted([2, 1], key=key)


def reduce_function():
    def add(left, right):
        sorted_key()

    functools.reduce(add, [1, 2])


def mapped_generator():
    def generate():
        yield reduce_function()

    def change(item):
        return item

    for _ in map(change, generate()):
        pass


def class_with_init():
    class Made:
        def __init__(self):
            mapped_generator()

    list(map(lambda item: Made(), [1]))


def max_key():
    max([1, 2], key=lambda item: class_with_init())


def iterator():
    class Iterator:
        def __iter__(self):
            return self

        def __next__(self):
            max_key()

    tuple(Iterator())


def comparison():
    class Item:
        def __lt__(self, other):
            iterator()

    [Item(), Item()].sort()


def qsort_callback():
    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    def compare(left, right):
        comparison()

    numbers = (ctypes.c_int * 2)(2, 1)
    ctypes.CDLL(None).qsort(numbers, 2, ctypes.sizeof(ctypes.c_int), compare)


def sqlite_function():
    def scalar(value):
        qsort_callback()

    connection = sqlite3.connect(":memory:")
    connection.create_function("scalar", 1, scalar)
    connection.execute("select scalar(1)").fetchall()


def extension():
    import native_ext

    def level_3():
        sqlite_function()

    def level_2():
        native_ext.call_template(level_3)

    def level_1():
        native_ext.call_double(level_2)

    native_ext.call_int(level_1)


def extension_only():
    """The same for the targets whose ctypes and sqlite3 are missing."""
    import native_ext

    native_ext.call_int(lambda: native_ext.call_double(lambda: native_ext.call_template(wait)))


def threads():
    """A thread that C++ made, one that Python does not know, and one that waits for a lock."""
    import native_ext

    lock = threading.Lock()
    lock.acquire()

    def acquires():
        lock.acquire()

    threading.Thread(target=acquires, daemon=True).start()
    native_ext.start_worker()

    def in_thread():
        time.sleep(0.2)
        wait()

    native_ext.call_in_thread(in_thread)


def crash():
    import native_ext

    def before():
        wait_for_start()
        native_ext.crash()

    def wait_for_start():
        with open(ready, "w"):
            pass
        os.read(0, 1)

    sorted([1], key=lambda item: before())


globals()[sys.argv[1]]()
