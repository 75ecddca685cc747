"""Frames with enum members, datetimes, instances, callables, modules and exceptions."""

import collections
import datetime
import decimal
import enum
import functools
import sys
import types
import weakref

import _truth
from _values import KEPT, Split, at, expect, plain

# Enums, datetimes


class Color(enum.Enum):
    RED = 1
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1


class Perm(enum.Flag):
    R = 4
    W = 2


class Bits(enum.IntFlag):
    A = 1
    B = 2


@_truth.scene
def scene_enums(gate):
    red, green, low, read, bit = Color.RED, Color.GREEN, Level.LOW, Perm.R, Bits.A
    members = [Color.RED, {Color.GREEN: Level.LOW}]
    both = Perm.R | Perm.W
    expect(
        locals(),
        both=repr(both) if sys.version_info >= (3, 11) else "<Perm: 6>",
    )
    gate.wait()


class Zone(datetime.tzinfo):
    def utcoffset(self, moment):
        return datetime.timedelta(0)


@_truth.scene
def scene_datetimes(gate):
    date = datetime.date(1, 2, 3)
    minute = datetime.datetime(2020, 1, 2, 3, 4)
    second = datetime.datetime(2020, 1, 2, 3, 4, 5)
    micro = datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)
    only_micro = datetime.datetime(2020, 1, 2, 0, 0, 0, 1)
    aware = datetime.datetime(2020, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)
    folded = datetime.datetime(2020, 1, 2, 3, 4, fold=1)
    both = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc, fold=1)
    time, time_micro = datetime.time(1, 2), datetime.time(1, 2, 3, 4)
    time_aware = datetime.time(0, 0, tzinfo=datetime.timezone.utc)
    utc, east = datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=2))
    named = datetime.timezone(datetime.timedelta(0, -3600), "W")
    own_zone = datetime.datetime(2020, 1, 2, tzinfo=Zone())
    nothing, day, negative = (
        datetime.timedelta(0),
        datetime.timedelta(1),
        datetime.timedelta(-1, 5, 6),
    )
    in_words = {}
    if sys.version_info < (3, 7):
        in_words = dict(
            day="datetime.timedelta(days=1)",
            negative="datetime.timedelta(days=-1, seconds=5, microseconds=6)",
            east="datetime.timezone(datetime.timedelta(seconds=7200))",
            named="datetime.timezone(datetime.timedelta(days=-1, seconds=82800), 'W')",
        )
    expect(
        locals(),
        own_zone="datetime.datetime(2020, 1, 2, 0, 0, tzinfo={})".format(at(own_zone.tzinfo)),
        **in_words,
    )
    gate.wait()


# Instances


class Slots(object):
    __slots__ = ("zeta", "alpha", "unset")

    def __init__(self):
        self.zeta = 1
        self.alpha = [2]


class MoreSlots(Slots):
    __slots__ = ["extra", "__private"]

    def __init__(self):
        Slots.__init__(self)
        self.extra = 3
        self.__private = 4


class SlotsAndDict(Slots):
    def __init__(self):
        Slots.__init__(self)
        self.attribute = 5


class Nothing(object):
    pass


class WithRepr(object):
    def __init__(self):
        self.value = 1

    def __repr__(self):
        raise AssertionError("code of the target was run")


class Meta(type):
    pass


WithMeta = Meta("WithMeta", (object,), {})


@_truth.scene
def scene_instances(gate):
    some, empty = plain(a=1, b="two", c=[3]), plain()
    own_repr = WithRepr()
    slots, more_slots, mixed = Slots(), MoreSlots(), SlotsAndDict()
    nothing, bare = Nothing(), object()
    after = Split()
    after.third = 3
    after.first = None
    less = Split()
    del less.first
    materialized = Split()
    dictionary = materialized.__dict__
    replaced = Split()
    replaced.__dict__ = {"new": 1}
    many = plain(**{"a%d" % i: i for i in range(10)})
    hostile = plain(**{"\x1b[31m": 1, "\u202e": 2})
    strange = type("Class\x1b[0m", (object,), {})()
    strange.x = 1
    of_meta = WithMeta()
    of_meta.x = 1

    class Local(object):
        def __init__(self):
            self.x = 1

    local = Local()
    rows = expect(
        locals(),
        some="Plain(a=1, b='two', c=[3])",
        empty=at(empty),
        own_repr="WithRepr(value=1)",
        slots="Slots(zeta=1, alpha=[2])",
        more_slots="MoreSlots(zeta=1, alpha=[2], extra=3, _MoreSlots__private=4)",
        mixed="SlotsAndDict(zeta=1, alpha=[2], attribute=5)",
        nothing=at(nothing),
        bare=at(bare),
        after="Split(first=None, second='two', third=3)",
        less="Split(second='two')",
        materialized="Split(first=1, second='two')",
        replaced="Split(new=1)",
        many="Plain(" + ", ".join("a%d=%d" % (i, i) for i in range(10)) + ")",
        hostile="Plain(\\x1b[31m=1, \\u202e=2)",
        strange="Class\\x1b[0m(x=1)",
        of_meta="WithMeta(x=1)",
        local="scene_instances.<locals>.Local(x=1)",
    )
    # Names are escaped too.
    [strange_row] = [row for row in rows if row["name"] == "strange"]
    strange_row["type"] = __name__ + ".Class\\x1b[0m"
    del rows, strange_row
    gate.wait()


if sys.version_info >= (3, 7):
    import dataclasses

    Point = dataclasses.make_dataclass("Point", [("x", int), ("y", list)])

    @_truth.scene
    def scene_dataclasses(gate):
        point = Point(1, [2])
        nested = Point(Point(1, 2), {"p": Point(3, 4)})
        expect(locals())
        gate.wait()

else:
    _truth.skip("scene_dataclasses", "the syntax came with 3.7")


# Callables, modules, exceptions


class Methods(object):
    def method(self):
        pass

    @classmethod
    def of_class(cls):
        pass

    @staticmethod
    def static():
        pass


@_truth.scene
def scene_callables(gate):
    instance = Methods()
    instance.x = 1
    function, anonymous = expect, lambda: None
    method, class_method, static = instance.method, Methods.of_class, Methods.static
    builtin, builtin_method, of_type = len, [].append, dict.fromkeys
    descriptor, wrapper, getset, member = (
        list.append,
        int.__add__,
        type(expect).__code__,
        Slots.alpha,
    )
    partial = functools.partial(len, "x")
    expect(
        locals(),
        instance="Methods(x=1)",
        method="<bound method Methods.method of Methods(x=1)>",
        partial=at(partial),
    )
    gate.wait()


@_truth.scene
def scene_classes(gate):
    number, own, nested, meta, module_class = int, Split, Color, Meta, collections.OrderedDict
    exception, date, abstract = ValueError, datetime.datetime, collections.abc.Mapping
    system, package, made = sys, collections, types.ModuleType("made\x1b")
    expect(
        locals(),
        nested="<class '{}.Color'>".format(__name__),
        system="<module 'sys'>",
        package="<module 'collections'>",
        made="<module 'made\\x1b'>",
    )
    gate.wait()


class Failure(Exception):
    def __init__(self, code):
        Exception.__init__(self, "failed", code)
        self.code = code


@_truth.scene
def scene_exceptions(gate):
    empty, single, pair = ValueError(), KeyError("key"), OSError(2, "No such file")
    own = Failure(7)
    named = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")
    interrupt = KeyboardInterrupt("x", [1])
    own_argument = ValueError()
    own_argument.args = (own_argument,)
    long = ValueError(*range(30))
    try:
        1 / 0
    except ZeroDivisionError as error:
        caught = error
    expect(
        locals(),
        empty="ValueError()",
        single="KeyError('key')",
        pair="FileNotFoundError(2, 'No such file')",
        own="Failure('failed', 7)",
        named="UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'invalid')",
        interrupt="KeyboardInterrupt('x', [1])",
        own_argument="ValueError(ValueError(...))",
        long="ValueError(" + ", ".join(map(str, range(20))) + ", ... 10 more)",
        caught="ZeroDivisionError('division by zero')",
    )
    gate.wait()


def generator_function():
    yield 1


async def coroutine_function():
    return 1


async def async_generator_function():
    yield 1


@_truth.scene
def scene_generators(gate):
    generator, started = generator_function(), generator_function()
    next(started)
    coroutine = coroutine_function()
    asynchronous = async_generator_function()
    expression = (i for i in "ab")
    KEPT.append(coroutine)
    expect(locals())
    gate.wait()


@_truth.scene
def scene_others(gate):
    reference = weakref.ref(Split)
    number = decimal.Decimal("1.5")
    view = memoryview(b"abc")
    iterator = iter([1])
    stream = sys.stderr.buffer
    lock = gate.handling.keys
    in_list = [reference, object]
    expect(
        locals(),
        reference=at(reference),
        number=at(number),
        view=at(view),
        iterator=at(iterator),
        stream=at(stream),
        lock=repr(lock),
        in_list="[{}, <class 'object'>]".format(at(reference)),
    )
    gate.wait()
