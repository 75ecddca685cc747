"""Threads that come and go while others live, and say in the end how long each has lived.

Usage: lifetimes.py READY_FILE LIVES_FILE
"""

import json
import sys
import threading
import time

import _truth

LIVES_S = {"worker-1": 1.5, "worker-2": 2.5, "sleeper": 2.0}


def live(name, lives):
    begin = time.monotonic()
    if name == "sleeper":
        time.sleep(LIVES_S[name])
    while time.monotonic() < begin + LIVES_S[name]:
        pass
    lives[name] = time.monotonic() - begin


def main():
    _truth.write_truth(sys.argv[1], {})
    time.sleep(0.5)
    lives = {}
    threads = [
        threading.Thread(target=live, name=name, args=(name, lives)) for name in sorted(LIVES_S)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(sys.argv[2], "w") as file:
        json.dump(lives, file)
    time.sleep(0.5)


if __name__ == "__main__":
    main()
