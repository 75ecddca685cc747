"""Threads that wait for futures of pools and of event loops: pools.py FACTS_FILE KIND

The facts say who waits for whom: `circle`, and `waits` by the name of the waiting thread, with the
names of the threads that work on what it waits for, or would ("worker", "pool" or "event_loop").
`processes`: the pids of a process pool.
"""

import asyncio
import concurrent.futures
import json
import multiprocessing
import os
import queue
import sys
import threading
import time

FACTS_FILE, KIND = sys.argv[1:]
FACTS_FILE = os.path.abspath(FACTS_FILE)
os.chdir(os.path.dirname(FACTS_FILE))  # Where its core is to be.
NEVER, NEVER_WRITTEN = os.pipe()
# Which work nobody does yet is known of pools whose queue is a SimpleQueue: 3.7 and later.
KNOWS_QUEUE = hasattr(queue, "SimpleQueue")


def pool_of(count, name):
    return concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix=name)


def queued(names):
    return ["pool", names] if KNOWS_QUEUE else [None, []]


def wait_for_ever():
    os.read(NEVER, 1)


def own_pool(count, busy=0):
    """Work that waits for more work in the same pool, by `count` of its workers."""
    pool = pool_of(count + busy, "own")
    all_run = threading.Barrier(count + busy)

    def wait_for_more():
        all_run.wait()
        pool.submit(int).result()

    def stay():
        all_run.wait()
        wait_for_ever()

    for work in [wait_for_more] * count + [stay] * busy:
        pool.submit(work)
    names = ["own_%d" % number for number in range(count + busy)]
    facts = {name: queued(names) for name in names[:count]}
    return facts, names if KNOWS_QUEUE and not busy else []


def full():
    return own_pool(3)


def one_worker():
    return own_pool(1)


def one_is_busy():
    return own_pool(2, busy=1)


def each_other():
    """Work of two pools that waits for each other."""
    futures, known = [], threading.Event()

    def wait_for(number):
        known.wait()
        futures[number].result()

    futures += [pool_of(1, "first").submit(wait_for, 1), pool_of(1, "second").submit(wait_for, 0)]
    known.set()
    facts = {"first_0": ["worker", ["second_0"]], "second_0": ["worker", ["first_0"]]}
    return facts, ["first_0", "second_0"]


def working():
    future = pool_of(2, "working").submit(wait_for_ever)
    threading.Thread(target=future.result, name="patient", daemon=True).start()
    return {"patient": ["worker", ["working_0"]]}, []


def wait_for_orphanage(parent):
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(0)  # Else it would wait for more work.


def processes():
    multiprocessing.set_start_method("fork")  # Else this file would run again.
    pool = concurrent.futures.ProcessPoolExecutor(2)
    futures = [pool.submit(wait_for_orphanage, os.getpid()) for _ in range(2)]
    while not all(future.running() for future in futures):
        time.sleep(0.01)
    PROCESSES.extend(sorted(pool._processes))
    threading.Thread(target=futures[0].result, name="patient", daemon=True).start()
    return {"patient": [None, []]}, []


def loop_in_thread():
    """A running loop, in a thread of the name "loop"."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="loop", daemon=True).start()
    return loop


async def stay():
    await asyncio.sleep(100000)


def submit(loop):
    return asyncio.run_coroutine_threadsafe(stay(), loop)


def in_loop(loop, function):
    loop.call_soon_threadsafe(function)


def another_loop():
    """It has a task of it, and nothing else to do."""
    future = submit(loop_in_thread())
    threading.Thread(target=future.result, name="patient", daemon=True).start()
    return {"patient": ["event_loop", ["loop"]]}, []


def own_loop():
    """What it waits for has not begun."""
    loop = loop_in_thread()
    in_loop(loop, lambda: submit(loop).result())
    return {"loop": ["event_loop", ["loop"]]}, ["loop"]


def own_loop_later():
    """What it waits for has begun."""
    loop = loop_in_thread()
    future, begun = submit(loop), threading.Event()
    in_loop(loop, begun.set)
    begun.wait()
    in_loop(loop, future.result)
    return {"loop": ["event_loop", ["loop"]]}, ["loop"]


def loop_and_lock():
    """A thread that has a lock waits for a loop that waits for the lock."""
    loop, lock, taken = loop_in_thread(), threading.Lock(), threading.Event()

    def wait_for_loop():
        with lock:
            taken.set()
            submit(loop).result()

    def take():
        with lock:
            pass

    threading.Thread(target=wait_for_loop, name="patient", daemon=True).start()
    taken.wait()
    in_loop(loop, take)
    return {"patient": ["event_loop", ["loop"]]}, ["loop", "patient"]


PROCESSES = []
WAITS, CIRCLE = globals()[KIND]()
with open(FACTS_FILE + ".part", "w") as file:
    facts = {"waits": WAITS, "circle": CIRCLE, "processes": PROCESSES}
    json.dump(dict(facts, threads=threading.active_count()), file)
os.rename(FACTS_FILE + ".part", FACTS_FILE)
wait_for_ever()
