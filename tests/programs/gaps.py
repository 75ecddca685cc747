"""Measures by its own clock how long it did not run.

Usage: gaps.py SHARED_FILE

The file holds three 64-bit numbers. Whenever the test counts up the first, the program puts into
the second how many nanoseconds at most lay between two looks at the clock since the last time, and
then counts up the third.
"""

import mmap
import struct
import sys
import time

DEPTH = 500


def descend(depth, function):
    if depth:
        return descend(depth - 1, function)
    return function()


def main():
    with open(sys.argv[1], "r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)

    def measure():
        clock = time.perf_counter
        longest, asked = 0.0, 0
        last = clock()
        while True:
            now = clock()
            if now - last > longest:
                longest = now - last
            last = now
            if shared[0] != asked:
                asked = shared[0]
                struct.pack_into("<Q", shared, 8, int(longest * 1e9))
                shared[16] = asked
                longest = 0.0
                last = clock()

    descend(DEPTH, measure)


if __name__ == "__main__":
    main()
