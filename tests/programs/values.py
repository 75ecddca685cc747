"""Frames that hold every kind of value, and what a reader must say of each: values.py TRUTH_FILE

Expected texts are repr() of the target itself wherever the rules of docs/locals.md say so, which is the default; where they
say something else the text is spelt out beside the value. The truth file is that of `_truth.py` with `expected`: for each
function the variables of its frame. The reader's limits must be those of LIMITS.

Written for Python 3.6 to 3.15, like everything in this folder.
"""

import array as array_module
import collections
import datetime
import decimal
import enum
import functools
import os
import sys
import types
import weakref

import _truth

LIMITS = {"max_depth": 4, "max_items": 20, "max_string": 200}
INT_DIGITS = 1000

# By function and file: the variables of the frame, {name, kind, value, type, redacted}; a value of None is not compared.
EXPECTED = {}
# What must stay alive although no frame holds it.
KEPT = []
REDACTED = object()


def expect(values, kinds=None, more=(), **texts):
    """To be called by a frame with its own locals(): what a reader must say of them. `kinds` of variables that are not plain
    locals; `texts` where they are not the repr()."""
    code = sys._getframe(1).f_code
    rows = [
        variable(
            name, value, (kinds or {}).get(name, "positional" if name == "gate" else "local"), texts
        )
        for name, value in values.items()
    ]
    EXPECTED[code.co_name, code.co_filename] = rows + list(more)
    return rows


def variable(name, value, kind, texts):
    if name == "gate":
        texts = {"gate": None}
    text = texts[name] if name in texts else repr(value)
    redacted = text is REDACTED
    return {
        "name": name,
        "kind": kind,
        "value": None if redacted else text,
        "type": None if redacted else type_name(type(value)),
        "redacted": redacted,
    }


def type_name(cls):
    return (
        cls.__qualname__
        if cls.__module__ == "builtins"
        else cls.__module__ + "." + cls.__qualname__
    )


def at(value):
    """The text of what nothing is known of."""
    return "<{} at {}>".format(type_name(type(value)), hex(id(value)))


# Numbers


@_truth.scene
def scene_numbers(gate):
    none = None
    true, false = True, False
    dots, not_implemented = Ellipsis, NotImplemented
    zero, one, minus = 0, 1, -1
    small = 256
    digit, two_digits, three_digits = 2**30 - 1, 2**30, 2**60
    minus_digit, minus_two, minus_three = -(2**30), -(2**59) - 7, -(2**63) - 1
    word, longer = 2**64 - 1, 2**64
    hundred = 10**100
    largest = 10 ** (INT_DIGITS - 1) + 7
    huge = 1 << 33219
    minus_huge = -(1 << 33219)
    expect(locals(), huge="<int of 33220 bits>", minus_huge="<negative int of 33220 bits>")
    gate.wait()


@_truth.scene
def scene_floats(gate):
    zero, minus_zero = 0.0, -0.0
    one, tenth, third = 1.0, 0.1, 1 / 3
    large, larger, exponent = 1e15, 123456789012345680.0, 1e16
    edge = 9999999999999998.0
    small, smaller = 0.0001, 0.00001
    tiny, least = 1.5e-7, 5e-324
    greatest = sys.float_info.max
    hundred = 1e100
    infinite, minus_infinite, not_a_number = float("inf"), float("-inf"), float("nan")
    many = [1e22, 1e23, 2.0**-44, 4.35, 0.1 + 0.2, 2.5, -1.7976931348623157e308, 123456.789]
    expect(locals())
    gate.wait()


@_truth.scene
def scene_complex(gate):
    zero, imaginary, both = 0j, 2j, 1 + 2j
    negative, fraction = -1.5 - 2.25j, 1e16 + 1e-5j
    minus_real = complex(-0.0, 1)
    minus_imaginary = complex(0.0, -0.0)
    infinite = complex(float("inf"), float("nan"))
    minus_infinite = complex(float("nan"), float("-inf"))
    expect(locals())
    gate.wait()


# Text


@_truth.scene
def scene_strings(gate):
    empty, ascii_text = "", "plain text"
    quote, double, both = "it's", 'say "hi"', 'it\'s "both"'
    backslash, controls = "a\\b", "tab\tnewline\nreturn\rnull\0escape\x1b[31mred\x7f"
    latin, latin_controls = "caf\xe9 \xff", "\x80\x9f\xa0\xad"
    two_bytes, separators = "\u0416\u4e2d\u6587", "\u2028\u2029\u200b\u202e\ufeff"
    four_bytes = "\U0001f600 and \U00020000"
    private, unassigned, tag = "\ue000", "\U000e0fff", "\U000e0041"
    surrogate = "\ud800 lone"
    exactly = "x" * LIMITS["max_string"]
    expect(locals())
    gate.wait()


@_truth.scene
def scene_bytes(gate):
    empty, text, all_bytes = b"", b"text", bytes(range(200))
    quote, double, both = b"it's", b'say "hi"', b'it\'s "both"'
    array_empty, array_text = bytearray(), bytearray(b"a\x00b'")
    array_moved = bytearray(b"0123456789" * 10)
    del array_moved[:50]
    # Below 3.15 repr() escapes single quotes whatever is around them.
    expect(locals(), array_text="bytearray({!r})".format(bytes(array_text)))
    gate.wait()


# Containers


@_truth.scene
def scene_sequences(gate):
    empty_tuple, single, pair = (), (1,), (1, "two")
    empty_list, numbers, nested = [], [1, 2, 3], [[1, [2, [3]]], (4, (5,))]
    emptied = [1, 2, 3]
    del emptied[:]
    expect(locals())
    gate.wait()


def plain(**attributes):
    """An instance of a class of its own, so that nobody else has a say in the order of its attributes."""
    instance = type("Plain", (object,), {"__module__": __name__})()
    for name, value in attributes.items():
        setattr(instance, name, value)
    return instance


class Split(object):
    def __init__(self):
        self.first = 1
        self.second = "two"


@_truth.scene
def scene_dicts(gate):
    empty, combined = {}, {"a": 1, "b": [2]}
    general = {1: "one", "two": 2, (3, 4): None, 1.5: True}
    only_keys = dict.fromkeys("abc")
    deleted = {"a": 1, "b": 2, "c": 3}
    del deleted["b"]
    cleared = {"a": 1}
    cleared.clear()
    Split()
    instance = Split()
    split = instance.__dict__
    unordered = Split()
    del unordered.first
    unordered.first = 3
    changed = unordered.__dict__
    other_bytes = {"\xe9": 1, "\u4e2d": 2, "\U0001f600": 3}
    expect(
        locals(),
        instance="Split(first=1, second='two')",
        unordered="Split(second='two', first=3)",
    )
    gate.wait()


def first_items(items):
    shown = LIMITS["max_items"]
    text = ", ".join("{!r}: {!r}".format(*item) for item in list(items.items())[:shown])
    return "{" + text + ", ... {} more}}".format(len(items) - shown)


@_truth.scene
def scene_large_dicts(gate):
    hundreds = {"key%d" % i: i for i in range(300)}
    thousands = {i: i for i in range(70000)}
    front_deleted = {i: i for i in range(5000)}
    for i in range(4990):
        del front_deleted[i]
    del i
    expect(locals(), hundreds=first_items(hundreds), thousands=first_items(thousands))
    gate.wait()


@_truth.scene
def scene_sets(gate):
    empty, numbers = set(), {1, 2, 3}
    words = {"some", "words", "here", None}
    emptied = {1, 2}
    emptied.clear()
    removed = set(range(15))
    for i in range(10):
        removed.discard(i)
    frozen, frozen_empty = frozenset("abc"), frozenset()
    del i
    expect(locals())
    gate.wait()


@_truth.scene
def scene_ranges(gate):
    simple, begin, stepped, backwards = range(10), range(2, 8), range(0, 10, 3), range(5, 0, -1)
    huge = range(2**70)
    whole, part, stepped_slice = slice(None), slice(1, 2), slice("a", None, 3)
    expect(locals())
    gate.wait()


@_truth.scene
def scene_cycles(gate):
    own_list = [1]
    own_list.append(own_list)
    own_dict = {"a": 1}
    own_dict["self"] = own_dict
    own_tuple = ([],)
    own_tuple[0].append(own_tuple)
    own_instance = plain()
    own_instance.me = own_instance
    own_instance.name = "x"
    first, second = plain(), plain()
    first.other = second
    second.other = first
    shared = [1]
    twice = [shared, shared]
    own_deque = collections.deque()
    own_deque.append(own_deque)
    expect(
        locals(),
        own_instance="Plain(me=Plain(...), name='x')",
        first="Plain(other=Plain(other=Plain(...)))",
        second="Plain(other=Plain(other=Plain(...)))",
        own_deque="deque([deque(...)])",
    )
    gate.wait()


@_truth.scene
def scene_abbreviations(gate):
    long_list = list(range(1000))
    long_tuple = tuple(range(21))
    exact_list = list(range(20))
    long_string = "0123456789" * 100
    long_bytes = b"0123456789" * 100
    long_array = bytearray(long_bytes)
    long_set = set(range(100))
    deep = [1, [2, [3, [4, [5, [6]]]]]]
    deep_dict = {"a": {"b": {"c": {"d": {"e": 1, "f": 2}}}}}
    deep_instance = plain(a=plain(b=plain(c=plain(d=plain(e=1)))))
    deep_empty = [[[[[]]]]]
    long_instance = plain()
    for i in range(30):
        setattr(long_instance, "a%02d" % i, i)
    del i
    first = ", ".join(map(str, range(20)))
    expect(
        locals(),
        long_list="[" + first + ", ... 980 more]",
        long_tuple="(" + first + ", ... 1 more)",
        long_string=repr(long_string[:200]) + " ... 800 more",
        long_bytes=repr(long_bytes[:200]) + " ... 800 more",
        long_array="bytearray(" + repr(long_bytes[:200]) + " ... 800 more)",
        long_set="{" + first + ", ... 80 more}",
        deep="[1, [2, [3, [4, [... 2 more]]]]]",
        deep_dict="{'a': {'b': {'c': {'d': {... 2 more}}}}}",
        deep_instance="Plain(a=Plain(b=Plain(c=Plain(d=Plain(...)))))",
        long_instance="Plain("
        + ", ".join("a%02d=%d" % (i, i) for i in range(20))
        + ", ... 10 more)",
    )
    gate.wait()


# Subclasses of built-ins


class MyList(list):
    pass


class MyDict(dict):
    pass


class MyTuple(tuple):
    pass


class MySet(set):
    pass


class MyFrozen(frozenset):
    pass


class MyStr(str):
    pass


class MyInt(int):
    pass


class MyFloat(float):
    pass


class MyComplex(complex):
    pass


class MyBytes(bytes):
    pass


class MyArray(bytearray):
    pass


class MyDeque(collections.deque):
    pass


class MyDate(datetime.date):
    pass


class Slotted(list):
    __slots__ = ("extra",)


Pair = collections.namedtuple("Pair", ["left", "right"])


class Derived(Pair):
    pass


@_truth.scene
def scene_subclasses(gate):
    a_list, a_dict, a_tuple = MyList([1, 2]), MyDict(a=1), MyTuple((1, 2))
    a_set, a_frozen, empty_set = MySet([1]), MyFrozen([2]), MySet()
    text, number, real = MyStr("te'xt\u4e2d"), MyInt(5), MyFloat(1.5)
    huge = MyInt(-(2**100))
    imaginary, raw, array = MyComplex(1, 2), MyBytes(b"raw"), MyArray(b"array")
    queue, date = MyDeque([1], 3), MyDate(2020, 2, 29)
    with_attribute = MyList([1])
    with_attribute.name = "x"
    number_attribute = MyInt(7)
    number_attribute.unit = "kg"
    with_slot = Slotted([1])
    with_slot.extra = 2
    own = MyList()
    own.append(own)
    named, derived, nested = Pair(1, "two"), Derived(3, 4), Pair(Pair(1, 2), [])
    expect(
        locals(),
        a_list="MyList([1, 2])",
        a_dict="MyDict({'a': 1})",
        a_tuple="MyTuple((1, 2))",
        empty_set="MySet()",
        a_set="MySet({1})",
        a_frozen="MyFrozen({2})",
        text="MyStr(" + repr(str(text)) + ")",
        number="MyInt(5)",
        huge="MyInt(" + str(-(2**100)) + ")",
        real="MyFloat(1.5)",
        imaginary="MyComplex((1+2j))",
        raw="MyBytes(b'raw')",
        array="MyArray(b'array')",
        queue="MyDeque([1], maxlen=3)",
        with_attribute="MyList([1], name='x')",
        number_attribute="MyInt(7, unit='kg')",
        with_slot="Slotted([1], extra=2)",
        own="MyList([MyList(...)])",
    )
    gate.wait()


@_truth.scene
def scene_collections(gate):
    ordered = collections.OrderedDict([("b", 1), ("a", 2)])
    ordered_empty = collections.OrderedDict()
    default = collections.defaultdict(list, {"a": [1]})
    default_none = collections.defaultdict(None, {1: 2})
    counter = collections.Counter("abca")
    queue, bounded, queue_empty = (
        collections.deque([1, 2]),
        collections.deque("ab", 5),
        collections.deque(),
    )
    turned = collections.deque(range(200))
    turned.rotate(70)
    for _ in range(185):
        turned.pop()
    del _
    mapping = {"a": 1, "b": 2}
    keys, values, items, proxy = (
        mapping.keys(),
        mapping.values(),
        mapping.items(),
        types.MappingProxyType(mapping),
    )
    namespace = types.SimpleNamespace(a=1, b="two")
    numbers = array_module.array("i", [1, 2])
    expect(
        locals(),
        ordered="OrderedDict({'b': 1, 'a': 2})",
        counter="Counter({'a': 2, 'b': 1, 'c': 1})",
        namespace="SimpleNamespace(a=1, b='two')",
        numbers=at(numbers),
    )
    gate.wait()


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
        nested="<class '__main__.Color'>",
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


# What variables there are


@_truth.scene
def scene_redacted(gate):
    password = "hunter2"
    visible = {"api_key": "hunter2", "key": 1, "nested": [{"password": 2}]}
    holder = plain(user="me", password="hunter2")
    expect(
        locals(),
        password=REDACTED,
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


def reorder(rows, names):
    by_name = {row["name"]: row for row in rows}
    rows[:] = [by_name.pop(name) for name in names] + list(by_name.values())


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
        "gate": "positional_only", "first": "positional_only", "second": "positional", "third": "keyword_only",
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
[(expect(LOCALS, kinds={".0": "implicit", "gate": "local"}, __builtins__=None, **{".0": None}), gate.wait()) for item in [5]]
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


class ValuesStage(_truth.Stage):
    def truth(self, without, own=None):
        expected = [
            {"function": function, "file": file, "variables": rows}
            for (function, file), rows in sorted(EXPECTED.items())
        ]
        return dict(_truth.Stage.truth(self, without, own), expected=expected, limits=LIMITS)


STAGE = None


def main():
    global STAGE
    STAGE = stage = ValuesStage(sys.argv[1])
    stage.skipped.update(_truth.SKIPPED)
    for name, function, options in _truth.SCENES:
        stage.play(function, name=name, **options)
    stage.tell()
    stage.gate.wait()


if __name__ == "__main__":
    main()
