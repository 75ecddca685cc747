"""Threads that count, so that anybody can see whether they run.

Usage: counting.py COUNTERS_FILE THREADS

The file has a 64-bit counter for each thread, made by the test and shared with it. The threads work
below some calls, so that there is something to read.
"""

import mmap
import struct
import sys
import threading

DEPTH = 100


def count(counters, index, depth):
    if depth:
        return count(counters, index, depth - 1)
    number = 0
    while True:
        number += 1
        struct.pack_into("<Q", counters, 8 * index, number)


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    with open(path, "r+b") as file:
        counters = mmap.mmap(file.fileno(), 0)
    for index in range(1, threads):
        threading.Thread(target=count, args=(counters, index, DEPTH), daemon=True).start()
    count(counters, 0, DEPTH)


if __name__ == "__main__":
    main()
