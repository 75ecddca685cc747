"""Threads that take and release locks as fast as they can.

    lock_traffic.py FACTS_FILE

Whoever has lock N writes its id to OWNERS[N] after it has taken the lock, and 0 before it releases
it. So OWNERS[N] is never another thread's id than that of the one that has the lock. The order in
which locks are taken has no circle.
"""

import json
import os
import sys
import threading
import time

COUNT = 4
LOCKS = [threading.Lock() for _ in range(COUNT - 1)] + [threading.RLock()]
CONDITION = threading.Condition(LOCKS[0])
OWNERS = [0] * COUNT


def note(number, ident):
    OWNERS[number] = ident


def plainly(number, ident):
    with LOCKS[number]:
        note(number, ident)
        note(number, 0)


def with_exception(number, ident):
    try:
        with LOCKS[number]:
            note(number, ident)
            try:
                raise ValueError(number)
            finally:
                note(number, 0)
    except ValueError:
        pass


def nested(number, ident):
    with LOCKS[number]:
        note(number, ident)
        if number + 1 < COUNT:
            plainly(number + 1, ident)
        note(number, 0)


def by_hand(number, ident):
    lock = LOCKS[number]
    lock.acquire()
    note(number, ident)
    note(number, 0)
    lock.release()


def slowly(number, ident):
    with LOCKS[number]:
        note(number, ident)
        time.sleep(0.0001)
        note(number, 0)


def waiting(number, ident):
    with LOCKS[0]:
        note(0, ident)
        note(0, 0)
        CONDITION.wait(0.0001)
        note(0, ident)
        note(0, 0)


def early_return(number, ident):
    for _ in range(2):
        with LOCKS[number]:
            note(number, ident)
            try:
                return ident
            finally:
                note(number, 0)


WAYS = [plainly, with_exception, nested, by_hand, slowly, waiting, early_return]


def run(first):
    ident = threading.get_ident()
    turn = first
    while True:
        turn += 1
        WAYS[turn % len(WAYS)](turn % COUNT, ident)


def main():
    for number in range(6):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    owners = OWNERS  # Read by the test, with the other variables of this frame.
    with open(sys.argv[1] + ".part", "w") as file:
        json.dump({"locks": [id(lock) for lock in LOCKS]}, file)
    os.rename(sys.argv[1] + ".part", sys.argv[1])
    os.read(os.pipe()[0], 1)
    return owners


main()
