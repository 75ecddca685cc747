"""Frames by what variables there are: arguments, cells, class bodies, modules, comprehensions."""

import os
import sys

import _truth
from _values import REDACTED, expect, plain, variable

# What variables there are


@_truth.scene
def scene_redacted(gate):
    password = "hunter2"
    visible = {"api_key": "hunter2", "key": 1, "nested": [{"password": 2}]}
    holder = plain(user="me", password="hunter2")
    headers = [("X-Api-Key", "hunter2"), (b"authorization", b"hunter2"), ["Accept", "x"]]
    arguments = ["mysql", "--password", "hunter2", "-p", "x", "--password=hunter2"]
    texts = ["db://me:hunter2@host/", "Bearer hunter2", b"a=1;Pwd=hunter2;b=2"]
    author = "me"
    proxyAuth = ("me", "hunter2")  # noqa: N806
    expect(
        locals(),
        password=REDACTED,
        proxyAuth=REDACTED,
        headers="[('X-Api-Key', <redacted>), (b'authorization', <redacted>), ['Accept', 'x']]",
        arguments="['mysql', '--password', <redacted>, '-p', 'x', '--password=<redacted>']",
        texts="['db://me:<redacted>@host/', 'Bearer <redacted>', b'a=1;Pwd=<redacted>;b=2']",
        visible="{'api_key': <redacted>, 'key': 1, 'nested': [{'password': <redacted>}]}",
        holder="Plain(user='me', password=<redacted>)",
    )
    gate.wait()


@_truth.scene
def scene_unbound(gate):
    bound = 1
    deleted = 2
    del deleted
    if bound > 1:
        never = 3

    def uses():
        return empty_cell, full_cell

    full_cell = "full"
    expect(locals(), kinds={"full_cell": "cell"}, uses=repr(uses))
    gate.wait()
    empty_cell = 1  # noqa: F841
    never = bound


def takes_all(gate, first, second=2, *rest, only, other="o", **more):
    inner = first
    expect(locals(), kinds=TAKES_ALL)
    gate.wait()
    return inner


TAKES_ALL = {
    "gate": "positional",
    "first": "positional",
    "second": "positional",
    "rest": "var_positional",
    "only": "keyword_only",
    "other": "keyword_only",
    "more": "var_keyword",
}


@_truth.scene
def scene_arguments(gate):
    takes_all(gate, 1, 2, 3, 4, only=5, x=6)


if sys.version_info >= (3, 8):
    exec(
        compile(
            """
def takes_positional(gate, first, /, second, *, third):
    expect(locals(), kinds={
        "gate": "positional_only",
        "first": "positional_only",
        "second": "positional",
        "third": "keyword_only",
    })
    gate.wait()
""",
            __file__,
            "exec",
        )
    )

    @_truth.scene
    def scene_positional_only(gate):
        globals()["takes_positional"](gate, 1, 2, third=3)

else:
    _truth.skip("scene_positional_only", "the syntax came with 3.8")


@_truth.scene
def scene_cells(gate):
    outer_function(gate, 1, 2, keyword=3, x=4)


def outer_function(gate, argument, *rest, keyword, **more):
    in_cell = [1]
    only_here = "local"

    def inner_function(own):
        expect(locals(), kinds=dict(dict.fromkeys(locals(), "free"), own="positional"))
        gate.wait()
        return argument, rest, keyword, more, in_cell

    expect(
        locals(),
        kinds={
            "argument": "positional",
            "rest": "var_positional",
            "keyword": "keyword_only",
            "more": "var_keyword",
            "in_cell": "cell",
        },
    )
    inner_function(only_here)


# Frames that are not those of functions


@_truth.scene
def scene_class_body(gate):
    outside = "from the function"

    class Body(object):
        number = 1
        text = outside + " into the class"

        def method(self):
            return super(Body, self).__init__() or __class__  # noqa: F821

        free = [variable("gate", gate, "free", {}), variable("outside", outside, "free", {})]
        expect(locals(), more=free, free=None)
        gate.wait()


MODULE = """
text = "in the module"
number = 1
def function(): pass
expect(locals(), kinds={"gate": "local"}, __builtins__=None)
gate.wait()
"""
MODULE_WITH_COMPREHENSION = """
text = "in the module"
item = "hidden by the one below"
KINDS = {".0": "implicit", "gate": "local"}
[
    (expect(LOCALS, kinds=KINDS, __builtins__=None, **{".0": None}), gate.wait())
    for item in [5]
]
""".replace(
    # From 3.13 on locals() has the variable of the comprehension alone.
    "LOCALS",
    "dict(globals(), **locals())" if sys.version_info >= (3, 12) else "locals()",
)


def run_module(gate, source, name):
    exec(compile(source, name, "exec"), {"gate": gate, "expect": expect, "__name__": name})


@_truth.scene
def scene_module(gate):
    run_module(gate, MODULE, "made_module")


@_truth.scene
def scene_module_comprehension(gate):
    run_module(gate, MODULE_WITH_COMPREHENSION, "made_comprehension")


INLINED = sys.version_info >= (3, 12)


@_truth.scene
def scene_comprehension(gate):
    numbers = [1]
    kinds = {
        ".0": "implicit",
        "gate": "positional" if INLINED else "free",
        "kinds": "local" if INLINED else "free",
    }
    [(expect(locals(), kinds=kinds, **{".0": None}), gate.wait()) for item in numbers]


@_truth.scene
def scene_generator_expression(gate):
    numbers = [1]
    kinds = {".0": "implicit", "gate": "free", "kinds": "free"}
    list((expect(locals(), kinds=kinds, **{".0": None}), gate.wait()) for item in numbers)


@_truth.scene
def scene_lambda(gate):
    kinds = {"x": "positional", "gate": "positional", "kinds": "free"}
    (lambda gate, x, *y: (expect(locals(), kinds=dict(kinds, y="var_positional")), gate.wait()))(
        gate, 1, 2
    )


@_truth.scene
def scene_running_generator(gate):
    next(running_generator(gate, 1))


def running_generator(gate, start):
    yielded = [start]
    expect(locals(), kinds={"start": "positional"})
    gate.wait()
    yield yielded


async def running_coroutine(gate, start):
    awaited = [start]
    expect(locals(), kinds={"start": "positional"})
    gate.wait()
    return awaited


@_truth.scene
def scene_coroutine(gate):
    running_coroutine(gate, 1).send(None)


# Threads of its own would not come to the gate.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
try:
    import numpy
except ImportError:
    _truth.skip("scene_numpy", "tables before numpy")
else:

    @_truth.scene
    def scene_numpy(gate):
        integers, floats = numpy.array([1, -2, 3]), numpy.array([[1.5, 2.0], [0.1, 1e16]])
        singles, flags = numpy.array([0.1, 2.5], dtype="float32"), numpy.array([True, False])
        complexes, bytes_ = numpy.array([1 + 2j]), numpy.array([1, 255], dtype="uint8")
        turned, stepped = floats.T, numpy.arange(10)[::-3]
        swapped = numpy.array([1, 2], dtype=">i4")
        swapped_complex = numpy.array([1 + 2j], dtype=">c8")
        long, empty, scalar_array = numpy.arange(1000), numpy.zeros((0, 3)), numpy.array(7)
        texts, objects = numpy.array(["a"]), numpy.array([None])
        real, number, flag = numpy.float64(1.5), numpy.int32(-7), numpy.bool_(True)
        first = ", ".join(map(str, range(20)))
        expect(
            locals(),
            integers="numpy.ndarray(dtype=int64, shape=(3,), data=[1, -2, 3])",
            floats="numpy.ndarray(dtype=float64, shape=(2, 2), data=[1.5, 2.0, 0.1, 1e+16])",
            singles="numpy.ndarray(dtype=float32, shape=(2,), data=[0.1, 2.5])",
            flags="numpy.ndarray(dtype=bool, shape=(2,), data=[True, False])",
            complexes="numpy.ndarray(dtype=complex128, shape=(1,), data=[(1+2j)])",
            bytes_="numpy.ndarray(dtype=uint8, shape=(2,), data=[1, 255])",
            turned="numpy.ndarray(dtype=float64, shape=(2, 2), data=[1.5, 0.1, 2.0, 1e+16])",
            stepped="numpy.ndarray(dtype=int64, shape=(4,), data=[9, 6, 3, 0])",
            swapped="numpy.ndarray(dtype=>int32, shape=(2,), data=[1, 2])",
            swapped_complex="numpy.ndarray(dtype=>complex64, shape=(1,), data=[(1+2j)])",
            long="numpy.ndarray(dtype=int64, shape=(1000,), data=[" + first + ", ... 980 more])",
            empty="numpy.ndarray(dtype=float64, shape=(0, 3), data=[])",
            scalar_array="numpy.ndarray(dtype=int64, shape=(), data=[7])",
            texts="numpy.ndarray(dtype=str, shape=(1,))",
            objects="numpy.ndarray(dtype=object, shape=(1,))",
            real="numpy.float64(1.5)",
            number="numpy.int32(-7)",
            flag="numpy.{}(True)".format(type(flag).__name__),
        )
        gate.wait()
