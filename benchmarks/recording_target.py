"""Threads at some depth; two of them compute and count their work, the others wait.

Arguments: the file with the count (8 bytes, mapped by both sides), the depth, the number of threads.
"""

import mmap
import struct
import sys
import threading

path, depth, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path, "r+b") as file:
    shared = mmap.mmap(file.fileno(), 8)


def down(n, work):
    if n == 0:
        work()
    else:
        down(n - 1, work)


def spin(counts):
    done = 0
    number = 0
    while True:
        for step in range(200):
            number = (number * 31 + step) % 1000003
        done += 1
        if counts:
            shared[0:8] = struct.pack("Q", done)


def wait():
    threading.Event().wait()


sys.setrecursionlimit(depth + 1000)
threading.stack_size(1 << 20)
for _ in range(threads - 2):
    threading.Thread(target=down, args=(min(depth, 30), wait), daemon=True).start()
if threads > 1:
    threading.Thread(target=down, args=(depth, lambda: spin(False)), daemon=True).start()
print("ready", flush=True)
down(depth - 2, lambda: spin(True))
