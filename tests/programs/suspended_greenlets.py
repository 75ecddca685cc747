"""Greenlets that are suspended, in two threads. They say themselves where they are.

Usage: suspended_greenlets.py TRUTH_FILE FOLDER

FOLDER has the package. The truth has `greenlets`: id, name, frames and thread of each.
"""

import functools
import os
import sys
import threading

sys.path.insert(0, sys.argv[2])
import _truth  # noqa: E402
import greenlet  # noqa: E402

KEPT = []


class Worker(greenlet.greenlet):
    pass


def suspend():
    greenlet.getcurrent().parent.switch()


def deep(depth):
    if depth:
        return deep(depth - 1)
    return suspend()


def through_c():
    return sorted([2, 1], key=lambda one: functools.reduce(lambda a, b: suspend(), [one, 1]))


def generates():
    for _ in (suspend() for _ in range(2)):
        pass


def starts_another():
    """Its own child ends, and it goes on; the other child stays."""
    ended = greenlet.greenlet(lambda: None)
    ended.switch()
    child = Worker(deep)
    KEPT.append((child, threading.get_ident()))
    child.switch(2)
    suspend()


def play(gate):
    """The greenlets are suspended one after the other; the last one stays at the gate."""
    mine = [
        greenlet.greenlet(functools.partial(deep, 30)),
        Worker(through_c),
        Worker(generates),
        greenlet.greenlet(starts_another),
    ]
    for one in mine:
        KEPT.append((one, threading.get_ident()))
        one.switch()
    KEPT.append((greenlet.getcurrent(), threading.get_ident()))
    # Not begun: it has no stack, and nobody knows where it will run.
    KEPT.append((Worker(suspend), None))
    greenlet.greenlet(gate.wait).switch()


def callers(frame):
    """The innermost one first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def name_of(one):
    if one.parent is None:
        return "main greenlet"
    kind = type(one)
    return "{}.{}".format(kind.__module__, kind.__qualname__)


class Stage(_truth.Stage):
    def truth(self, without, own=None):
        truth = super().truth(without, own)
        truth["greenlets"] = [
            {
                "id": id(one),
                "name": name_of(one),
                "python_thread_id": ident,
                "frames": [_truth.describe(frame) for frame in callers(one.gr_frame)][::-1],
            }
            for one, ident in KEPT
            if one.gr_frame is not None
        ]
        return truth


def run():
    stage = Stage(sys.argv[1])
    stage.play(play, "other")
    stage.tell()
    play(stage.gate)


if __name__ == "__main__":
    run()
    os._exit(0)
