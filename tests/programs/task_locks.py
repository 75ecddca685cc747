"""Tasks that hold locks of threads while they are suspended: task_locks.py FACTS_FILE KIND

The facts: which thread waits for the lock, the id of the task, and the circle of threads.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading

FACTS_FILE, KIND = os.path.abspath(sys.argv[1]), sys.argv[2]
os.chdir(os.path.dirname(FACTS_FILE))  # Where its core is to be.
LOCK, OTHER = threading.Lock(), threading.Lock()
TASKS = []
IS_HELD, IS_OTHER_HELD = threading.Event(), threading.Event()


@contextlib.contextmanager
def section():
    with LOCK:
        yield


async def hold():
    if KIND == "manager":
        with section():
            IS_HELD.set()
            await asyncio.sleep(100000)
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


def run_loop():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())


def wait_for_lock():
    IS_HELD.wait()
    with OTHER:
        IS_OTHER_HELD.set()
        with LOCK:
            pass


THREADS = [threading.Thread(target=run_loop, name="loop", daemon=True)]
WAITER = "loop"
if KIND != "itself":
    THREADS.append(threading.Thread(target=wait_for_lock, name="waiter", daemon=True))
    WAITER = "waiter"
for thread in THREADS:
    thread.start()
IS_HELD.wait()
with open(FACTS_FILE + ".part", "w") as file:
    has_tasks = sys.version_info >= (3, 7) and KIND != "released"
    facts = {"waiter": WAITER, "threads": len(THREADS) + 1, "task": None, "circle": []}
    if has_tasks:
        facts["task"] = id(TASKS[0])
        facts["circle"] = {"itself": ["loop"], "circle": ["loop", "waiter"]}.get(KIND, [])
    json.dump(facts, file)
os.rename(FACTS_FILE + ".part", FACTS_FILE)
os.read(os.pipe()[0], 1)
