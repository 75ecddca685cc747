"""Threads that take and release locks as fast as they can.

    lock_traffic.py FACTS_FILE

Whoever has lock N writes its id to OWNERS[N] after it has taken the lock, and 0 before it releases
it. So OWNERS[N] is never another thread's id than that of the one that has the lock. The order in
which locks are taken has no circle.
"""

import asyncio
import contextlib
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


@contextlib.contextmanager
def section(number, ident):
    with LOCKS[number]:
        note(number, ident)
        yield
        note(number, 0)


@contextlib.contextmanager
def after_section(number, ident):
    """Others have the lock while it is suspended."""
    with section(number, ident):
        pass
    yield


def managed(number, ident):
    with section(number, ident):
        time.sleep(0)
    with after_section(number, ident):
        time.sleep(0)


async def in_a_task(ident):
    """The one task of its loop: another would keep it from going on, while it has a lock."""
    while True:
        for number in range(COUNT - 1):
            with LOCKS[number]:
                note(number, ident)
                await asyncio.sleep(0)
                note(number, 0)


def run_loop():
    asyncio.new_event_loop().run_until_complete(in_a_task(threading.get_ident()))


WAYS = [plainly, with_exception, nested, by_hand, slowly, waiting, early_return, managed]


def run(first):
    ident = threading.get_ident()
    turn = first
    while True:
        turn += 1
        WAYS[turn % len(WAYS)](turn % COUNT, ident)


def main():
    for number in range(6):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    threading.Thread(target=run_loop, daemon=True).start()
    owners = OWNERS  # Read by the test, with the other variables of this frame.
    with open(sys.argv[1] + ".part", "w") as file:
        json.dump({"locks": [id(lock) for lock in LOCKS]}, file)
    os.rename(sys.argv[1] + ".part", sys.argv[1])
    os.read(os.pipe()[0], 1)
    return owners


main()
