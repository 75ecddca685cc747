"""Python called by C: the interpreter loop is entered again, below frames that it does not know."""

import bisect
import json
import re
import sys
import threading
import types
import xml.parsers.expat

from _truth import scene, skip

try:
    import ctypes
except ImportError:
    ctypes = None
try:
    import sqlite3
except ImportError:
    sqlite3 = None


@scene
def regular_expression_callback(gate):
    re.sub("b+", lambda match: gate.wait(), "abba")


@scene
def json_default_and_hook(gate):
    def hook(pairs):
        gate.wait()

    def default(value):
        return json.loads('{"key": {"inner": 1}}', object_pairs_hook=hook)

    json.dumps({"value": gate}, default=default)


@scene
def comparison_in_c(gate):
    class Key:
        def __lt__(self, other):
            gate.wait()

    bisect.insort([Key(), Key()], Key())


@scene
def dictionary_insertion(gate):
    class Key:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            gate.wait()

    {Key(): 1}[Key()]


@scene
def parser_callback(gate):
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: gate.wait()
    parser.Parse("<root><child/></root>", True)


@scene
def builtin_type_creation(gate):
    types.new_class("Made", (), {}, lambda namespace: gate.wait())


@scene
def module_attribute(gate):
    class Module(types.ModuleType):
        def __getattr__(self, name):
            gate.wait()

    Module("virtual").anything


@scene
def builtin_iteration(gate):
    def numbers():
        yield 1
        gate.wait()

    "".join(map(str, zip(numbers(), iter(lambda: 1, 2))))


if sqlite3 is not None:

    @scene
    def sqlite_function(gate):
        connection = sqlite3.connect(":memory:")
        connection.create_function("wait", 0, lambda: gate.wait())
        connection.execute("select wait()").fetchall()

    @scene
    def sqlite_aggregate(gate):
        class Aggregate:
            def step(self, value):
                pass

            def finalize(self):
                gate.wait()

        connection = sqlite3.connect(":memory:")
        connection.create_aggregate("waiting", 1, Aggregate)
        connection.execute("select waiting(1)").fetchall()

    @scene
    def sqlite_collation(gate):
        connection = sqlite3.connect(":memory:")
        connection.create_collation("waiting", lambda left, right: gate.wait())
        connection.execute("select 'a' = 'b' collate waiting").fetchall()

else:
    for name in ("sqlite_function", "sqlite_aggregate", "sqlite_collation"):
        skip(name, "no sqlite3")


if ctypes is not None:

    @scene
    def ctypes_callback(gate):
        callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: gate.wait())
        callback()

    @scene
    def ctypes_callback_under_c(gate):
        """Python, ctypes, libc's qsort, ctypes, Python, three times over."""

        def sort(depth):
            def compare(left, right):
                if depth:
                    sort(depth - 1)
                gate.wait()

            pointer = ctypes.POINTER(ctypes.c_int)
            numbers = (ctypes.c_int * 2)(2, 1)
            kind = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)
            ctypes.CDLL(None).qsort(numbers, 2, ctypes.sizeof(ctypes.c_int), kind(compare))

        sort(2)

    @scene
    def ctypes_python_api(gate):
        call = ctypes.pythonapi.PyObject_CallObject
        call.argtypes = [ctypes.py_object, ctypes.c_void_p]
        call.restype = ctypes.py_object
        call(lambda: gate.wait(), None)

else:
    for name in ("ctypes_callback", "ctypes_callback_under_c", "ctypes_python_api"):
        skip(name, "no ctypes")


def start_foreign_threads(stage):
    """Threads that C made and that came to Python by a callback."""
    if ctypes is None:
        stage.skipped["foreign_thread"] = "no ctypes"
        return
    entered = threading.Event()
    idents = []

    def start(named):
        def routine(argument):
            idents.append(threading.current_thread().ident if named else threading.get_ident())
            entered.set()
            stage.gate.wait()

        callback = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(routine)
        FOREIGN_CALLBACKS.append(callback)
        pthread = ctypes.c_ulong()
        library = ctypes.CDLL(None)
        try:
            create = library.pthread_create
        except AttributeError:
            create = ctypes.CDLL("libpthread.so.0").pthread_create
        if create(ctypes.byref(pthread), None, callback, None) != 0:
            raise OSError("pthread_create")
        stage.count()
        entered.wait()
        entered.clear()
        stage.scenes[idents.pop()] = "foreign thread" + (", named" if named else "")

    start(named=False)
    start(named=True)


# C keeps only their addresses.
FOREIGN_CALLBACKS = []

if sys.version_info < (3, 7):
    # In 3.6 a foreign thread needs a GIL that somebody has made.
    threading.Thread(target=int).start()
