"""Knows how long it was kept from running, other than by the scheduler.

Usage: stops.py SHARED_FILE

The file holds three 64-bit numbers. Whenever the test counts up the first, the program puts into
the second how many nanoseconds of its life it neither ran nor waited for a CPU, and then counts up
the third. It never sleeps, so for that long it was stopped, however busy the machine is.
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


def stopped_ns(schedstat):
    """Of a thread that runs, the kernel's account of its waiting is complete."""
    schedstat.seek(0)
    waited_ns = int(schedstat.read().split()[1])
    return time.monotonic_ns() - time.thread_time_ns() - waited_ns


def main():
    with open(sys.argv[1], "r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)

    def serve():
        asked = 0
        with open("/proc/thread-self/schedstat", "rb", buffering=0) as schedstat:
            while True:
                if shared[0] != asked:
                    asked = shared[0]
                    struct.pack_into("<q", shared, 8, stopped_ns(schedstat))
                    shared[16] = asked

    descend(DEPTH, serve)


if __name__ == "__main__":
    main()
