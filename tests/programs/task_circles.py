"""asyncio tasks that wait for each other, and some that only look like it.

Usage: task_circles.py TRUTH_FILE

The truth has the circles: the names of the tasks of each, by their ids.
"""

import asyncio
import json
import os
import sys

HAS_TIMEOUT = sys.version_info >= (3, 11)

NAMES = {}
KEPT = []


def start(coroutine, name):
    task = asyncio.get_event_loop().create_task(coroutine)
    NAMES[id(task)] = name
    KEPT.append(task)
    return task


async def takes_both(first, second, entered):
    async with first:
        entered.append(1)
        while len(entered) % 2:
            await asyncio.sleep(0)
        async with second:
            pass


async def takes_next(locks, at, entered):
    async with locks[at]:
        entered.append(at)
        while len(entered) < len(locks):
            await asyncio.sleep(0)
        async with locks[(at + 1) % len(locks)]:
            pass


async def takes(lock):
    async with lock:
        pass


async def gathers_inside(lock):
    async with lock:
        await asyncio.gather(start(takes(lock), "gathered"), asyncio.sleep(0))


async def awaits_inside(lock):
    async with lock:
        await start(takes(lock), "awaited")


async def awaits(others):
    while not others:
        await asyncio.sleep(0)
    await others[0]


async def with_timeout(lock):
    async with lock:
        async with asyncio.timeout(100000):
            await start(takes(lock), "timed by timeout()")


async def with_wait_for(lock):
    async with lock:
        await asyncio.wait_for(start(takes(lock), "timed by wait_for()"), 100000)


async def with_any(lock):
    async with lock:
        tasks = [start(takes(lock), "one of several"), start(asyncio.sleep(100000), "the other")]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def holds(lock):
    async with lock:
        await asyncio.sleep(100000)


async def main():
    lock = asyncio.Lock
    first, second, entered = lock(), lock(), []
    start(takes_both(first, second, entered), "first of two")
    start(takes_both(second, first, entered), "second of two")
    locks, in_three = [lock(), lock(), lock()], []
    for at in range(3):
        start(takes_next(locks, at, in_three), "{} of three".format(at))
    start(gathers_inside(lock()), "gathers")
    start(awaits_inside(lock()), "awaits")
    one, other = [], []
    one.append(start(awaits(other), "one"))
    other.append(start(awaits(one), "other"))
    # These are none:
    free = lock()
    start(holds(free), "holder")
    start(takes(free), "taker")
    start(with_wait_for(lock()), "with wait_for()")
    start(with_any(lock()), "with any")
    if HAS_TIMEOUT:
        start(with_timeout(lock()), "with timeout()")
    for _ in range(50):
        await asyncio.sleep(0)
    circles = [
        ["first of two", "second of two"],
        ["0 of three", "1 of three", "2 of three"],
        ["gathers", "gathered"],
        ["awaits", "awaited"],
        ["one", "other"],
    ]
    with open(sys.argv[1] + ".new", "w") as file:
        json.dump({"names": NAMES, "circles": circles}, file)
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    await asyncio.sleep(100000)


asyncio.run(main())
