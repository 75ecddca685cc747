"""Scenes in syntax that only newer versions have: source text, compiled where it can be."""

import sys

from _truth import scene_with, skip

SOURCES = [
    (
        (3, 8),
        "positional_only_and_walrus",
        """
def positional(way, /, *, times):
    while (result := way.wait()) and times:
        pass
    return result

def scene(gate):
    return [waited for _ in "a" if (waited := positional(gate, times=1))]
""",
    ),
    (
        (3, 8),
        "format_with_equals",
        """
def scene(gate):
    return f"{1=} {gate.wait()=!r:>{10}}"
""",
    ),
    (
        (3, 10),
        "match_statement",
        """
class Point:
    __match_args__ = ("x",)

    def __init__(self, gate):
        self.gate = gate

    @property
    def x(self):
        return self.gate.wait()

def scene(gate):
    match [1, Point(gate)]:
        case [2, _]:
            pass
        case [1, Point(3)]:
            pass
""",
    ),
    (
        (3, 10),
        "match_guard",
        """
def scene(gate):
    match {"key": 1}:
        case {"key": value} if (
            gate.wait()
        ):
            pass
""",
    ),
    (
        (3, 10),
        "with_in_parentheses",
        """
class Manager:
    def __init__(self, gate):
        self.gate = gate

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self.gate is None or self.gate.wait()

def scene(gate):
    with (
        Manager(gate) as first,
        Manager(None) as second,
    ):
        raise ValueError(first, second)
""",
    ),
    (
        (3, 11),
        "except_star",
        """
def scene(gate):
    try:
        raise ExceptionGroup("group", [ValueError(1), KeyError(2)])
    except* ValueError:
        pass
    except* KeyError:
        gate.wait()
""",
    ),
    (
        (3, 11),
        "asyncio_task_group",
        """
import asyncio

async def last(gate):
    await asyncio.sleep(0)
    gate.wait()

async def main(gate):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(100))
        group.create_task(last(gate))

def scene(gate):
    asyncio.run(main(gate))
""",
    ),
    (
        (3, 12),
        "type_parameters",
        """
def decorator(gate):
    def decorate(function):
        return gate.wait()
    return decorate

def default(gate):
    return gate.wait()

def scene(gate):
    class Outer[T: int]:
        def method[S](self, value=default(gate)):
            pass
""",
    ),
    (
        (3, 12),
        "type_alias_evaluated_lazily",
        """
def scene(gate):
    type Alias[T] = dict[T, gate.wait()]
    Alias.__value__
""",
    ),
    (
        (3, 12),
        "nested_format",
        """
def scene(gate):
    return f"{'a' + f"{
        gate.wait()
    }" + 'b'}"
""",
    ),
    (
        (3, 12),
        "asyncio_eager_tasks",
        """
import asyncio

async def eager(gate):
    gate.wait()

async def main(gate):
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    await asyncio.create_task(eager(gate))

def scene(gate):
    asyncio.run(main(gate))
""",
    ),
    (
        (3, 14),
        "annotations_evaluated_lazily",
        """
def scene(gate):
    def function(first: int, second: gate.wait()):
        pass

    function.__annotations__
""",
    ),
    (
        (3, 14),
        "template_string",
        """
def scene(gate):
    return t"{1} and {gate.wait()}"
""",
    ),
    (
        (3, 14),
        "except_without_parentheses",
        """
def scene(gate):
    try:
        raise KeyError
    except ValueError, KeyError:
        gate.wait()
""",
    ),
]


def compiled(name, source):
    namespace = {"__name__": name}
    exec(compile(source, name + ".py", "exec"), namespace)
    return namespace["scene"]


for since, name, source in SOURCES:
    if sys.version_info >= since:
        scene_with(name=name)(compiled(name, source))
    else:
        skip(name, "the syntax came with {}.{}".format(*since))
