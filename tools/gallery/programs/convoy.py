"""Threads that spend their time waiting for one lock."""

import os
import threading
import time

lock = threading.Lock()
totals = {"orders": 0}


def add(amount: int) -> None:
    with lock:
        time.sleep(0.002)
        totals["orders"] += amount


def work() -> None:
    while True:
        add(sum(range(1000)))


for number in range(6):
    threading.Thread(target=work, name=f"worker-{number}", daemon=True).start()
print(os.getpid(), flush=True)
threading.Event().wait()
