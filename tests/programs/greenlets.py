"""Switches between greenlets; says what the stack of Python functions is, then waits or works.

    greenlets.py FOLDER blocked|busy

FOLDER has the package `greenlet`. The main greenlet is deeper when it resumes the other one than it
was when it started it, so what lies behind that one's C stack are none of its callers.
"""

import sys
import time
from functools import reduce

sys.path.insert(0, sys.argv[1])
import greenlet  # noqa: E402

main = greenlet.getcurrent()


def work(end):
    while time.time() < end:
        sum(range(1000))


def innermost():
    print("ready", flush=True)
    if sys.argv[2] == "blocked":
        sys.stdin.readline()
        return
    while True:
        reduce(lambda count, more: work(time.time() + 0.001), [0, 0])
        main.switch()


def in_greenlet(depth):
    if depth:
        return in_greenlet(depth - 1)
    return sorted([1], key=lambda one: innermost())


def body():
    main.switch()
    in_greenlet(3)


other = greenlet.greenlet(body)


def starts():
    other.switch()


def resumes(depth):
    if depth:
        return list(map(resumes, [depth - 1]))
    while not other.dead:
        other.switch()
        work(time.time() + 0.001)
    return None


starts()
resumes(20)
