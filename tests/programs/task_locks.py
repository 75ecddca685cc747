"""Tasks that hold locks of threads while they are suspended: task_locks.py FACTS_FILE KIND [FOLDER]

FOLDER has the package trio, for the kind of this name.

The facts: which thread waits for the lock, the id of the task, and the circle of threads.
"""

import asyncio
import json
import os
import sys
import threading

from _sections import section

FACTS_FILE, KIND = os.path.abspath(sys.argv[1]), sys.argv[2]
sys.path += sys.argv[3:]
os.chdir(os.path.dirname(FACTS_FILE))  # Where its core is to be.
LOCK, OTHER = threading.Lock(), threading.Lock()
CONDITION, IS_OWNED = threading.Condition(LOCK), threading.Event()
TASKS = []
IS_HELD, IS_OTHER_HELD = threading.Event(), threading.Event()


async def hold():
    if KIND == "manager":
        with section(LOCK):
            IS_HELD.set()
            await asyncio.sleep(100000)
    elif KIND == "condition":
        with CONDITION:
            IS_HELD.set()
            # The thread of the executor releases the lock.
            await asyncio.get_event_loop().run_in_executor(None, CONDITION.wait)
    elif KIND == "released":
        with LOCK:
            LOCK.release()
            LOCK.acquire()
        LOCK.acquire()
        IS_HELD.set()
        await asyncio.sleep(100000)
    else:
        with LOCK:
            IS_HELD.set()
            await asyncio.sleep(100000)


async def inner():
    await hold()


async def main():
    # Inside of another coroutine, as it is in programs.
    TASKS.append(asyncio.ensure_future(inner()))
    await asyncio.sleep(0)
    if KIND == "itself":
        with LOCK:
            pass
    if KIND == "circle":
        IS_OTHER_HELD.wait()
        with OTHER:
            pass
    await asyncio.sleep(100000)


async def hold_in_trio():
    TASKS.append(trio.lowlevel.current_task())
    with LOCK:
        IS_HELD.set()
        await trio.sleep(100000)


async def main_of_trio():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold_in_trio)
        while not IS_HELD.is_set():
            await trio.lowlevel.checkpoint()
        with LOCK:
            pass


def own():
    IS_HELD.wait()
    CONDITION.acquire()
    IS_OWNED.set()
    os.read(os.pipe()[0], 1)


def run_loop():
    if KIND == "trio":
        trio.run(main_of_trio)
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())


def wait_for_lock():
    (IS_OWNED if KIND == "condition" else IS_HELD).wait()
    with OTHER:
        IS_OTHER_HELD.set()
        with LOCK:
            pass


if KIND == "trio":
    import trio

THREADS = [threading.Thread(target=run_loop, name="loop", daemon=True)]
WAITER = "loop"
if KIND == "condition":
    THREADS.append(threading.Thread(target=own, name="owner", daemon=True))
if KIND not in ("itself", "trio"):
    THREADS.append(threading.Thread(target=wait_for_lock, name="waiter", daemon=True))
    WAITER = "waiter"
for thread in THREADS:
    thread.start()
IS_HELD.wait()
with open(FACTS_FILE + ".part", "w") as file:
    has_tasks = sys.version_info >= (3, 7) and KIND not in ("released", "condition")
    # The main thread; and that of the executor.
    threads = len(THREADS) + (2 if KIND == "condition" else 1)
    facts = {"waiter": WAITER, "threads": threads, "task": None, "circle": []}
    if has_tasks:
        facts["task"] = id(TASKS[0])
        facts["circle"] = {"itself": ["loop"], "trio": ["loop"], "circle": ["loop", "waiter"]}.get(
            KIND, []
        )
    json.dump(facts, file)
os.rename(FACTS_FILE + ".part", FACTS_FILE)
os.read(os.pipe()[0], 1)
