"""Tasks of trio that wait in all the ways there are, and that then stand still.

Usage: trio_tasks.py TRUTH_FILE FOLDER

FOLDER has the packages. The truth has `tasks`, as that of waiting_tasks.py.
"""

import os
import subprocess
import sys

sys.path.insert(0, sys.argv[2])
import _task_truth  # noqa: E402
import _truth  # noqa: E402
import trio  # noqa: E402

# By name of the task: what its scene says of it.
SAID = {}
ROOTS = []


def start(nursery, function, *args, name, kind, holders=(), state="waiting"):
    SAID[name] = {"kind": kind, "holders": sorted(holders), "state": state}
    nursery.start_soon(function, *args, name=name)


async def settle():
    for _ in range(20):
        await trio.lowlevel.checkpoint()


# --- locks


async def locks(nursery):
    lock, fifo, limiter = trio.Lock(), trio.StrictFIFOLock(), trio.CapacityLimiter(2)
    semaphore, event, condition = trio.Semaphore(0), trio.Event(), trio.Condition()

    async def holds(what):
        async with what:
            await trio.sleep_forever()

    async def takes(what):
        async with what:
            pass

    async def takes_by_call(what):
        await what.acquire()

    async def waits_for_condition():
        async with condition:
            await condition.wait()

    start(nursery, holds, lock, name="lock holder", kind="sleep")
    start(nursery, holds, fifo, name="fifo holder", kind="sleep")
    start(nursery, holds, limiter, name="limiter holder 1", kind="sleep")
    start(nursery, holds, limiter, name="limiter holder 2", kind="sleep")
    await settle()
    start(nursery, takes, lock, name="lock taker", kind="lock", holders=["lock holder"])
    start(nursery, takes_by_call, lock, name="lock caller", kind="lock", holders=["lock holder"])
    start(nursery, takes, fifo, name="fifo taker", kind="lock", holders=["fifo holder"])
    both = ["limiter holder 1", "limiter holder 2"]
    start(nursery, takes, limiter, name="limiter taker", kind="semaphore", holders=both)
    start(nursery, takes, semaphore, name="semaphore taker", kind="semaphore")
    start(nursery, waits_for_condition, name="condition waiter", kind="condition")
    start(nursery, event.wait, name="event waiter", kind="event")


# --- what comes from elsewhere


async def channels(nursery):
    sender, _ = trio.open_memory_channel(0)
    _, receiver = trio.open_memory_channel(0)
    KEPT.extend((sender, _, receiver))

    async def iterates():
        async for _ in receiver:
            pass

    start(nursery, sender.send, "text", name="sender", kind="queue_put")
    start(nursery, iterates, name="receiver", kind="queue_get")


KEPT = []


async def elsewhere(nursery, gate):
    reading, writing = os.pipe()
    KEPT.append(writing)

    async def reads():
        await trio.lowlevel.wait_readable(reading)

    async def runs_in_thread():
        await trio.to_thread.run_sync(gate.wait)

    async def runs_child(process):
        await process.wait()

    async def parks():
        await trio.lowlevel.ParkingLot().park()

    async def waits_by_hand():
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)

    opens = getattr(trio.lowlevel, "open_process", None) or trio.open_process
    process = await opens([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    KEPT.append(process)
    start(nursery, reads, name="reader", kind="stream_read")
    start(nursery, runs_in_thread, name="thread user", kind="executor")
    start(nursery, runs_child, process, name="parent", kind="process")
    SAID["parent"]["pid"] = process.pid
    start(nursery, parks, name="parked", kind="other")
    start(nursery, waits_by_hand, name="by hand", kind=None)


# --- kinds of tasks


async def numbers():
    number = 0
    while True:
        if number:
            await trio.sleep_forever()
        yield number
        number += 1


async def kinds(nursery):
    async def iterates():
        async for _ in numbers():
            pass

    async def deep(depth):
        text = "depth %d" % depth
        if depth:
            await deep(depth - 1)
        else:
            await trio.sleep_forever()
        return text

    async def has_children(name, depth):
        async with trio.open_nursery() as inner:
            for i in range(2):
                child = "{} {}".format(name, i)
                if depth:
                    start(inner, has_children, child, depth - 1, name=child, kind="task_group")
                else:
                    start(inner, trio.sleep, 100000, name=child, kind="sleep")

    async def has_busy_nursery():
        async with trio.open_nursery() as inner:
            start(inner, trio.sleep_forever, name="child of a body", kind="sleep")
            await trio.sleep_until(trio.current_time() + 100000)

    start(nursery, iterates, name="generator reader", kind="sleep")
    start(nursery, deep, 50, name="deep", kind="sleep")
    start(nursery, has_children, "family", 1, name="family", kind="task_group")
    start(nursery, has_busy_nursery, name="busy nursery", kind="sleep")
    start(nursery, trio.sleep, 100000, name="n\u00e4me \u4e16", kind="sleep")


# --- the program


async def main(gate):
    ROOTS.append(trio.lowlevel.current_root_task())
    ready = trio.Event()

    async def is_ready():
        await ready.wait()

    async def never_begins(first, second="two"):
        third = first
        await trio.sleep_forever()
        return third

    async def stands_still():
        await inner()

    async def inner():
        calls()

    def calls():
        ready.set()
        start(nursery, never_begins, 1, name="created", kind=None, state="created")
        gate.wait()

    async with trio.open_nursery() as nursery:
        await locks(nursery)
        await channels(nursery)
        await elsewhere(nursery, gate)
        await kinds(nursery)
        start(nursery, is_ready, name="ready", kind=None, state="ready")
        await settle()
        start(nursery, stands_still, name="runner", kind=None, state="running")


def other_run(gate):
    """Its tasks all wait."""

    async def waits():
        ROOTS.append(trio.lowlevel.current_root_task())
        SAID[trio.lowlevel.current_task().name] = {"kind": "task_group"}
        async with trio.open_nursery() as nursery:
            start(nursery, trio.sleep_forever, name="of the other run", kind="sleep")

    trio.run(waits)


#: By the last part of their names: tasks that trio starts itself.
OWN = {
    "<init>": "task_group",
    "<TrioToken.run_sync_soon task>": "stream_read",
    "main": "task_group",
}


class Stage(_truth.Stage):
    def truth(self, without, own=None):
        truth = super().truth(without, own)
        truth["tasks"] = [one for root in ROOTS for one in describe(root, None)]
        return truth


def describe(task, parent):
    frames = list(_task_truth.chain(task.coro))
    said = SAID.get(task.name)
    if said is None:
        [kind] = [OWN[end] for end in OWN if task.name.endswith(end)]
        said = {"kind": kind}
    yield dict(
        {"state": "waiting", "holders": []},
        **said,
        id=id(task),
        name=task.name,
        awaited_by=[] if parent is None else [parent.name],
        frames=[_truth.describe(frame) for frame in frames],
        variables=[_task_truth.variables(frame) for frame in frames],
    )
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            for one in describe(child, task):
                yield one


def run():
    stage = Stage(sys.argv[1])
    stage.play(other_run, elsewhere=True)
    # The thread that a task uses.
    stage.count()
    stage.tell()
    trio.run(main, stage.gate)


if __name__ == "__main__":
    run()
    os._exit(0)
