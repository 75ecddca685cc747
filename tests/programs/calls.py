"""Pure calls, as fast as they go, whose legal stacks follow from this text.

Usage: calls.py READY_FILE chains|recursion|generators|coroutines [DEPTH]

DEPTH: so many frames more are below those.

The test reads this file and learns which function calls which, and from where. So everything
between the two marks below is made of plain functions which call each other by name. Many are equal
in size and shape, so that one's frame lies exactly where another's was: a stack that is read while
the program runs on is then made of pieces that fit together and never were one.
"""

import sys

import _truth


# -- calls --
def chains(number):
    while True:
        number = a(number)
        number = x(number)
        number = a(number) + x(number)
        number = short(number)
        number = p(number) - a(p(number))
        number = number % 1000003


def a(number):
    return b(number)


def b(number):
    number = c(number)
    return c(number) + 1


def c(number):
    return d(number) + d(number)


def d(number):
    return number + 1


def x(number):
    return y(number)


def y(number):
    number = z(number)
    return z(number) + 1


def z(number):
    return w(number) + w(number)


def w(number):
    return number - 1


def short(number):
    return x(number) if number % 2 else a(number)


def p(number):
    first = q(number)
    second = r(number)
    return first + second


def q(number):
    return number * 2


def r(number):
    return q(number)


def recursion(number):
    while True:
        number = down(number % 40)
        number = odd(number % 37) + even(number % 23)
        number = tree(4, number)


def down(depth):
    if depth > 0:
        return down(depth - 1) + 1
    return depth


def odd(depth):
    return even(depth - 1) if depth > 0 else 1


def even(depth):
    return odd(depth - 1) if depth > 0 else 2


def tree(depth, number):
    if depth == 0:
        return number % 101
    return tree(depth - 1, number + 1) + tree(depth - 1, number + 2)


def generators(number):
    while True:
        for value in evens(10):
            number = number + q(value)
        for value in nested(5):
            number = number + d(value)
        number = total(number % 20)


def evens(limit):
    for value in numbers(limit):
        yield q(value)


def numbers(limit):
    value = 0
    while value < limit:
        yield w(value)
        value = value + 1


def nested(depth):
    if depth > 0:
        yield depth
        yield from nested(depth - 1)
        yield q(depth)


def total(limit):
    result = 0
    for value in evens(limit):
        result = result + value
    return result


async def coroutines(number):
    while True:
        number = await outer(number % 11)
        async for value in steps(5):
            number = number + await inner(value)


async def outer(depth):
    if depth > 0:
        return await outer(depth - 1) + q(depth)
    return depth


async def inner(number):
    return w(number)


async def steps(limit):
    value = 0
    while value < limit:
        yield await inner(value)
        value = value + 1


# -- end of calls --


def run_coroutines(number):
    coroutines(number).send(None)


def below(depth, root):
    if depth > 0:
        below(depth - 1, root)
    else:
        root(1)


def main():
    _truth.write_truth(sys.argv[1], {})
    roots = {
        "chains": chains,
        "recursion": recursion,
        "generators": generators,
        "coroutines": run_coroutines,
    }
    depth = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    sys.setrecursionlimit(1000 + depth)
    below(depth, roots[sys.argv[2]])


if __name__ == "__main__":
    main()
