"""Stacks with frames that compiled code has made, as Nuitka's.

Usage: compiled.py FOLDER blocked|spinning

FOLDER has the extension module `compiled_frames`. The program prints a line of JSON: for each
thread its stack, outermost first, as the interpreter itself tells it. Then all threads stay where
they are, or one calls the same functions for ever.
"""

import functools
import json
import os
import sys
import threading

sys.path.insert(0, sys.argv[1])
import compiled_frames

stacks = {}
told = threading.Semaphore(0)


# Never executed: their code objects are those of the compiled frames.
def compiled_outer(argument=None):
    return argument


def compiled_middle(argument=None):
    return argument


def compiled_inner(argument=None):
    return argument


def stack_above(frame):
    stack = []
    while frame is not None:
        stack.append([frame.f_code.co_name, frame.f_lineno])
        frame = frame.f_back
    return stack[::-1]


def block():
    frame = sys._getframe()
    stack = stack_above(frame.f_back) + [[frame.f_code.co_name, frame.f_lineno + 3]]
    stacks[threading.current_thread().ident] = stack
    told.release()
    os.read(0, 1)


def interpreted():
    compiled_frames.call(
        compiled_middle.__code__,
        222,
        functools.partial(compiled_frames.call, compiled_inner.__code__, 333, block),
    )


def work():
    return sum(range(3000))


def blocked():
    compiled_frames.start(compiled_outer.__code__, 111, interpreted)
    threading.Thread(target=interpreted, daemon=True).start()
    compiled_frames.start(compiled_outer.__code__, 112, block)
    for _ in range(3):
        told.acquire()
    print(json.dumps(stacks), flush=True)
    compiled_frames.call(compiled_outer.__code__, 113, functools.partial(os.read, 0, 1))


def spinning():
    print(json.dumps(stacks), flush=True)
    while True:
        # Of two lines of one function, one takes three times as long as the other.
        compiled_frames.repeat(compiled_outer.__code__, (111, 222), work, 100)
        compiled_frames.repeat(compiled_outer.__code__, (222,), work, 200)


if __name__ == "__main__":
    os.chdir(sys.argv[1])  # Its core will be there.
    {"blocked": blocked, "spinning": spinning}[sys.argv[2]]()
