"""Tasks of anyio that wait, and that then stand still.

Usage: anyio_tasks.py TRUTH_FILE FOLDER BACKEND

FOLDER has the packages. The truth has `tasks`: names, kinds and parents, as the program made them.
"""

import os
import sys
import threading

sys.path.insert(0, sys.argv[2])
import _truth  # noqa: E402
import anyio  # noqa: E402

BACKEND = sys.argv[3]
TASKS = []
NEVER = threading.Event()


def start(group, function, *args, name, kind, parent):
    TASKS.append({"name": name, "kind": kind, "parent": parent})
    group.start_soon(function, *args, name=name)


async def main(gate):
    event = anyio.Event()

    async def sleeps():
        await anyio.sleep(100000)

    async def waits():
        await event.wait()

    async def has_children():
        async with anyio.create_task_group() as inner:
            for i in range(2):
                start(inner, sleeps, name="child %d" % i, kind="sleep", parent="family")

    async def has_busy_group():
        async with anyio.create_task_group() as inner:
            start(inner, waits, name="child of a body", kind="event", parent="busy group")
            await anyio.sleep(100000)

    lock, semaphore, held = anyio.Lock(), anyio.Semaphore(1), anyio.Event()
    sends, receives = anyio.create_memory_object_stream(0)

    async def holds():
        async with lock, semaphore:
            held.set()
            await anyio.sleep(100000)

    async def takes(what):
        async with what:
            pass

    async def stands_still():
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        gate.wait()

    async with anyio.create_task_group() as group:
        start(group, sleeps, name="sleeper", kind="sleep", parent="")
        start(group, waits, name="waiter", kind="event", parent="")
        start(group, has_children, name="family", kind="task_group", parent="")
        start(group, has_busy_group, name="busy group", kind="sleep", parent="")
        start(group, holds, name="holder", kind="sleep", parent="")
        await held.wait()
        start(group, takes, lock, name="lock taker", kind="lock", parent="")
        start(group, takes, semaphore, name="semaphore taker", kind="semaphore", parent="")
        # What is known of trio's waits are its own.
        of_stream = "queue_get" if BACKEND == "asyncio" else "event"
        start(group, receives.receive, name="receiver", kind=of_stream, parent="")
        if BACKEND == "asyncio":  # Some releases of anyio and trio do not fit.
            run = anyio.to_thread.run_sync
            start(group, run, NEVER.wait, name="to thread", kind="executor", parent="")
        start(group, stands_still, name="runner", kind=None, parent="")


class Stage(_truth.Stage):
    def truth(self, without, own=None):
        return dict(super().truth(without, own), tasks=TASKS)


def run():
    stage = Stage(sys.argv[1])
    if BACKEND == "asyncio":
        stage.count(elsewhere=True)  # The thread of "to thread".
    stage.tell()
    anyio.run(main, stage.gate, backend=BACKEND)


if __name__ == "__main__":
    import anyio.lowlevel
    import anyio.to_thread

    run()
    os._exit(0)
