"""Calls of every kind in pure Python."""

import contextlib
import functools
import sys
import weakref

from _truth import scene


@scene
def nested_functions(gate):
    def middle():
        def inner():
            gate.wait()

        inner()

    middle()


class Kinds:
    """One method of each kind; `kinds` enters them in order."""

    def __init__(self, gate):
        self.gate = gate

    def method(self):
        return self.class_method(self)

    @classmethod
    def class_method(cls, instance):
        return cls.static_method(instance)

    @staticmethod
    def static_method(instance):
        return instance.attribute

    @property
    def attribute(self):
        return self(1, 2, key=3)

    def __call__(self, *args, **kwargs):
        return self.missing_attribute

    def __getattr__(self, name):
        return self[name]

    def __getitem__(self, key):
        return self + 1

    def __add__(self, other):
        return 1 - self

    def __rsub__(self, other):
        return self < other

    def __lt__(self, other):
        return not self

    def __bool__(self):
        return len(self)

    def __len__(self):
        return "{:>5}".format(self)

    def __format__(self, spec):
        return repr(self)

    def __repr__(self):
        return hash(self)

    def __hash__(self):
        return self == 1

    def __eq__(self, other):
        return 2 in self

    def __contains__(self, item):
        return [*self]

    def __iter__(self):
        with self:
            return iter(())

    def __enter__(self):
        del self.anything

    def __delattr__(self, name):
        self[1:2] = 0

    def __setitem__(self, key, value):
        self.gate.wait()

    def __exit__(self, *error):
        pass


@scene
def kinds_of_methods(gate):
    Kinds(gate).method()


class Meta(type):
    def __prepare__(name, bases, **kwargs):
        return {}

    def __call__(cls, gate):
        return super().__call__(gate)


class Made(metaclass=Meta):
    def __new__(cls, gate):
        made = super().__new__(cls)
        made.__init__(gate)
        return made

    def __init__(self, gate):
        super().__init__()
        self.use(gate)

    def use(self, gate):
        class Child(Made):
            def __init_subclass__(cls):
                gate.wait()

        class GrandChild(Child):
            pass


@scene
def metaclass_and_subclass_hook(gate):
    Made(gate)


class Descriptor:
    def __init__(self, gate):
        self.gate = gate

    def __set_name__(self, owner, name):
        owner.later = self

    def __set__(self, instance, value):
        self.gate.wait()


@scene
def descriptor(gate):
    class Owner:
        first = Descriptor(gate)

    Owner().later = 1


def passes_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def with_parameter(count):
    def decorate(function):
        def wrapper(*args):
            for _ in range(count):
                function(*args)

        return wrapper

    return decorate


@scene
def decorators(gate):
    @passes_on
    @with_parameter(2)
    @functools.lru_cache(maxsize=None)
    @passes_on
    def decorated(way):
        way.wait()

    decorated(gate)


@scene
def partial_and_bound_builtin(gate):
    functools.partial(list(map(lambda way: way.wait, [gate]))[0])()


class Lazy:
    @functools.singledispatch
    def on_type(way):
        way.wait()


@scene
def single_dispatch(gate):
    Lazy.on_type(gate)


@scene
def comprehensions(gate):
    return [{key: {value for value in [gate.wait()]} for key in (1,)} for _ in range(1)]


@scene
def generator_expression(gate):
    return sum(1 for first in range(2) for second in [gate.wait()] if first == second)


@scene
def lambdas(gate):
    first = lambda: (lambda: (lambda way=gate: way.wait())())()  # noqa: E731
    first()


@scene
def sorted_key(gate):
    sorted([3, 1, 2], key=lambda value: gate.wait() if value == 1 else value)


@scene
def sorted_compare(gate):
    class Weight:
        def __init__(self, value):
            self.value = value

        def __lt__(self, other):
            gate.wait()

    sorted([Weight(1), Weight(2)])


@scene
def map_filter_reduce(gate):
    def combine(left, right):
        return list(filter(keep, map(double, [left, right])))

    def keep(value):
        return gate.wait()

    def double(value):
        return 2 * value

    functools.reduce(combine, [1, 2, 3])


@scene
def max_min_any(gate):
    max([1, 2], key=lambda _: min([1], key=lambda _: any(gate.wait() for _ in "a")))


@scene
def class_body(gate):
    class Outer:
        value = 1

        class Inner:
            result = gate.wait()


@scene
def default_argument_and_decorator_expression(gate):
    def expensive():
        return gate.wait()

    def function(argument=expensive()):
        pass


@scene
def class_keyword(gate):
    class WithKeyword:
        def __init_subclass__(cls, way, **kwargs):
            way.wait()

    class User(WithKeyword, way=gate):
        pass


@scene
def multi_line_calls(gate):
    def three(first, second, third):
        return first + second.wait() + third

    return three(
        1,
        gate,
        three(
            2,
            gate,
            3,
        ),
    )


@scene
def multi_line_method_chain(gate):
    class Chain:
        def step(self):
            return self

        def last(self, way):
            return way.wait()

    return Chain().step().step().last(gate).step()


@scene
def several_calls_in_one_line(gate):
    def one():
        return 1

    def wait():
        gate.wait()

    return one() + one() + one() * (one() - wait() + one()) + one()


@scene
def keyword_and_star_arguments(gate):
    def keywords(*, way, other=None, **rest):
        way.wait()

    def stars(*args, **kwargs):
        keywords(*args, **kwargs)

    stars(**{"way": gate, "other": 1, "rest": 2})


@scene
def context_managers(gate):
    @contextlib.contextmanager
    def manager():
        with inner():
            yield 1

    @contextlib.contextmanager
    def inner():
        try:
            yield 1
        finally:
            gate.wait()

    with manager() as first, manager() as second:
        pass
    return first, second


class Exits:
    def __init__(self, gate):
        self.gate = gate

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.gate.wait()


@scene
def exit_with_exception(gate):
    with Exits(gate), contextlib.suppress(KeyError):
        raise ValueError("on the way out")


@scene
def try_except(gate):
    try:
        raise KeyError("key")
    except (ValueError, KeyError):
        gate.wait()


@scene
def try_except_nested(gate):
    try:
        {}["key"]
    except KeyError:
        try:
            int("x")
        except ValueError:

            def after():
                gate.wait()

            after()


@scene
def try_finally_normal(gate):
    try:
        pass
    finally:
        gate.wait()


@scene
def try_finally_raising(gate):
    try:
        raise OSError("first")
    finally:
        gate.wait()


@scene
def try_finally_return(gate):
    try:
        return 1
    finally:
        gate.wait()


@scene
def try_else(gate):
    try:
        pass
    except Exception:
        pass
    else:
        gate.wait()


@scene
def except_expression(gate):
    def kinds():
        gate.wait()

    try:
        raise RuntimeError("what is caught is computed")
    except kinds():
        pass


@scene
def handled_and_left(gate):
    """The exception is over: nothing is handled any more."""
    try:
        raise ValueError("over")
    except ValueError:
        pass
    gate.wait()


class Finalized:
    def __init__(self, gate):
        self.gate = gate

    def __del__(self):
        self.gate.wait()


@scene
def finalizer_by_del(gate):
    victim = Finalized(gate)
    del victim


@scene
def finalizer_by_return(gate):
    def drop():
        victim = Finalized(gate)
        return len([victim])

    drop()


@scene
def finalizer_by_assignment(gate):
    victim = Finalized(gate)
    for victim in range(1):
        pass
    return victim


@scene
def weak_reference_callback(gate):
    class Victim:
        pass

    def callback(reference):
        gate.wait()

    victim = Victim()
    kept = weakref.ref(victim, callback)
    victim = None
    return kept


@scene
def loops(gate):
    class Counter:
        def __iter__(self):
            return self

        def __next__(self):
            gate.wait()

    for value in Counter():
        print(value)


@scene
def unpacking(gate):
    class Two:
        def __iter__(self):
            yield 1
            gate.wait()

    first, *rest = Two()
    return first, rest


@scene
def while_condition(gate):
    while True and not False and gate.wait():
        pass


@scene
def conditional_expression(gate):
    return 1 if gate.wait() else 2


@scene
def assertion(gate):
    assert not gate.handling or True, "unused"
    assert gate.wait(), "never"


@scene
def raise_argument(gate):
    def cause():
        gate.wait()

    raise ValueError("text") from cause()


@scene
def global_lookup(gate):
    class Globals(dict):
        def __missing__(self, key):
            gate.wait()

    exec("name_that_is_not_there", Globals())


@scene
def missing_key(gate):
    class Default(dict):
        def __missing__(self, key):
            return gate.wait()

    return Default()["key"]


@scene
def recursion_1000(gate):
    def descend(depth):
        if depth == 0:
            gate.wait()
        elif depth % 3 == 0:
            descend(depth - 1)
        else:
            return [descend(depth - 1)]

    descend(1000)


@scene
def recursion_through_c(gate):
    def descend(depth):
        if depth:
            return sorted([1, 2], key=lambda _: list(map(descend, [depth - 1])))
        gate.wait()

    descend(30)


@scene
def warm(gate):
    """Specialised and, where there is a JIT, compiled by the time it blocks."""

    class Point:
        def __init__(self, value):
            self.value = value

        def add(self, other, way):
            if way is not None:
                way.wait()
            return Point(self.value + other.value)

    def total(count, way=None):
        point = Point(0)
        for index in range(count):
            point = point.add(Point(index), way if index == count - 1 else None)
        return point.value

    def outer(way):
        return total(5000, way)

    for _ in range(4):
        outer(None)
    outer(gate)


@scene
def warm_generator(gate):
    def numbers(count, way):
        for index in range(count):
            if way is not None and index == count - 1:
                way.wait()
            yield index

    def total(way):
        result = 0
        for number in numbers(5000, way):
            result += number
        return result

    for _ in range(4):
        total(None)
    total(gate)


@scene
def under_a_trace_function(gate):
    """On 3.12 and later the code that runs is instrumented."""

    def local(frame, event, argument):
        return local

    def traced():
        for number in range(3):
            if number == 2:
                gate.wait()

    sys.settrace(local)
    traced()


@scene
def in_a_trace_function(gate):
    def local(frame, event, argument):
        if event == "line":
            sys.settrace(None)
            gate.wait()
        return local

    def traced():
        pass

    sys.settrace(local)
    traced()


@scene
def in_a_profile_function(gate):
    def profile(frame, event, argument):
        if event == "c_call":
            sys.setprofile(None)
            gate.wait()

    def profiled():
        abs(1)

    sys.setprofile(profile)
    profiled()
