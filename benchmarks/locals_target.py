"""Threads of 20 frames with 10 variables each; one thread measures the gaps in which it did not run.

Arguments: the file for the results (see `Gaps` in dumps.py), the number of threads, and "waiting" (the
other threads sleep) or "changing" (they fill their frames with new values all the time).
"""

import mmap
import struct
import sys
import threading
import time

path, threads, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(path, "r+b") as file:
    shared = mmap.mmap(file.fileno(), 16)
DEPTH = 20
started = []


class Order:
    def __init__(self, number):
        self.number = number
        self.rows = [("row", number, 1.5), ("row", number + 1, 2.5)]
        self.customer = {"name": f"Grüße {number}", "zip": number * 7919}


def down(n, end):
    number = n * 1000003
    price = n / 3
    name = f"name {n}"
    rows = [n, n + 1, n + 2, name]
    table = {"n": n, "name": name, "rows": rows}
    pair = (price, number)
    data = name.encode()
    order = Order(n)
    result = end() if n <= 1 else down(n - 1, end)
    return number, price, name, rows, table, pair, data, order, result


def waits():
    started.append(1)
    threading.Event().wait()


def changes():
    started.append(1)
    while True:
        down(10, list)
        time.sleep(0.0001)


def spin():
    longest = 0
    before = time.perf_counter_ns()
    while True:
        now = time.perf_counter_ns()
        gap = now - before
        before = now
        if shared[8]:  # The other side asks to begin again.
            longest = 0
            shared[8] = 0
            before = time.perf_counter_ns()
        elif gap > longest:
            longest = gap
            shared[0:8] = struct.pack("Q", longest)


for _ in range(threads - 1):
    end = waits if how == "waiting" else changes
    threading.Thread(target=down, args=(DEPTH, end), daemon=True).start()
while len(started) < threads - 1:
    time.sleep(0.01)
# The switch interval must not look like a stop.
if how == "changing":
    sys.setswitchinterval(1e-5)
print("ready", flush=True)
down(DEPTH, spin)
