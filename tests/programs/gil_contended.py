"""Threads of pure Python that never stop, beside some that sleep.

Usage: gil_contended.py ROLES_FILE
"""

import sys
import threading

import _truth

BUSY = 3
IDLE = 2


def spin():
    number = 0
    while True:
        number = (number * 3 + 1) % 1000003


def main():
    gate = _truth.Gate()
    idle = [threading.Thread(target=gate.wait, name="idle", daemon=True) for _ in range(IDLE)]
    busy = [threading.Thread(target=spin, name="busy", daemon=True) for _ in range(BUSY)]
    for thread in idle + busy:
        thread.start()
    roles = {
        "idle": [thread.ident for thread in [*idle, threading.main_thread()]],
        "busy": [thread.ident for thread in busy],
    }
    _truth.write_truth(sys.argv[1], {"roles": roles})
    gate.wait()


if __name__ == "__main__":
    main()
