"""Threads that sleep, are called away one after another to sleep elsewhere or to compute, and in
the end say how long each was where.

Usage: sleepers.py TIMES_FILE
"""

import json
import sys
import threading
import time

THREADS = 20
VISIT_S = 0.2


def at_home(called):
    called.acquire()


def away(end):
    time.sleep(end - time.monotonic())


def computing(end):
    while time.monotonic() < end:
        pass


def live(number, called, is_back, times):
    begin = time.monotonic()
    at_home(called)
    left = time.monotonic()
    visit = away if number % 2 else computing
    visit(left + VISIT_S)
    back = time.monotonic()
    is_back.release()
    at_home(called)
    end = time.monotonic()
    times["sleeper-%d" % number] = {
        "at_home": left - begin + end - back,
        visit.__name__: back - left,
    }


def main():
    times = {}
    is_back = threading.Semaphore(0)
    doors = [threading.Semaphore(0) for _ in range(THREADS)]
    threads = [
        threading.Thread(
            target=live, args=(number, door, is_back, times), name="sleeper-%d" % number
        )
        for number, door in enumerate(doors)
    ]
    # For the recorder, to find the program.
    time.sleep(0.5)
    for thread in threads:
        thread.start()
    # Long enough for all of them to be known as sleepers.
    time.sleep(1.5)
    for door in doors:
        door.release()
        is_back.acquire()
    # Those that end first are in the middle of the list.
    for door in doors[5:10] + doors[:5] + doors[10:]:
        door.release()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    with open(sys.argv[1], "w") as file:
        json.dump(times, file)


if __name__ == "__main__":
    main()
