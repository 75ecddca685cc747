"""Two threads in a circle, beside thousands of tasks that are inside of with blocks.

crowded_locks.py FACTS_FILE
"""

import asyncio
import json
import os
import sys
import threading

from _sections import section

TASKS = 10000
BOTH = threading.Barrier(2)
LOCKS = threading.Lock(), threading.Lock()


def cross(first, second):
    with first:
        BOTH.wait()
        with second:
            pass


async def rest():
    with section(threading.Lock()):
        await asyncio.sleep(100000)


async def main():
    tasks = [asyncio.ensure_future(rest()) for _ in range(TASKS)]
    await asyncio.sleep(0)
    for pair in (LOCKS, LOCKS[::-1]):
        threading.Thread(target=cross, args=pair, daemon=True).start()
    with open(sys.argv[1] + ".part", "w") as file:
        json.dump({"threads": 3}, file)
    os.rename(sys.argv[1] + ".part", sys.argv[1])
    await asyncio.wait(tasks)


asyncio.get_event_loop_policy().new_event_loop().run_until_complete(main())
