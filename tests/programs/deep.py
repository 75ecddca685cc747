"""Recursion of 100,000 frames in a thread, from different lines, and of 900 in the main thread.

Usage: deep.py TRUTH_FILE
"""

import sys
import threading

import _truth

DEPTH = 100000
# Up to 3.10 every Python call is several C calls deep, in a debug build above a kilobyte of stack.
STACK_BYTES = 1 << 30


def down(depth, wait):
    if depth == 0:
        wait()
    elif depth % 7 == 3:
        across(
            depth - 1,
            wait,
        )
    elif depth % 5:
        down(depth - 1, wait)
    else:
        return [down(depth - 1, wait)]


def across(depth, wait):
    if depth % 2:
        return across(depth - 1, wait)
    return down(depth, wait)


def deep(gate):
    down(DEPTH, gate.wait)


def main():
    stage = _truth.Stage(sys.argv[1])
    sys.setrecursionlimit(2 * DEPTH)
    threading.stack_size(STACK_BYTES)
    stage.play(deep)
    threading.stack_size(0)
    stage.tell()
    down(900, stage.gate.wait)


if __name__ == "__main__":
    main()
