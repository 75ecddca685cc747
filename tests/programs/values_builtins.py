"""Frames with numbers, text, containers, and instances of subclasses of those."""

import array as array_module
import collections
import datetime
import sys
import types

import _truth
from _values import INT_DIGITS, LIMITS, Split, at, expect, plain

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
