"""asyncio tasks that wait in all the ways there are, and that then stand still.

Usage: waiting_tasks.py TRUTH_FILE

The truth has `tasks`: what each task is (its chain of awaits as the interpreter walks it), and what
its scene says that it waits for and who awaits it.
"""

import asyncio
import concurrent.futures
import itertools
import os
import socket
import subprocess
import sys
import threading
import types

import _task_truth
import _truth

NEW_TASK_NAMES = sys.version_info >= (3, 8)

# By name of the task: what its scene says of it.
SAID = {}
# Names, where the version has none.
NAMES = {}
KEPT = []


def start(coroutine, name, kind, awaited_by=(), holders=(), state="waiting", make=None):
    loop = asyncio.get_event_loop()
    if make is not None:
        task = make(coroutine, loop, name)
    elif NEW_TASK_NAMES:
        task = loop.create_task(coroutine, name=name)
    else:
        task = loop.create_task(coroutine)
    return say(task, name, kind, awaited_by, holders, state)


def say(task, name, kind, awaited_by=(), holders=(), state="waiting"):
    NAMES[id(task)] = name
    SAID[name] = {
        "kind": kind,
        "awaited_by": sorted(awaited_by),
        "holders": sorted(holders),
        "state": state,
    }
    KEPT.append(task)
    return task


class Handmade:
    """An awaitable whose iterator is a plain generator."""

    def __init__(self, future):
        self.future = future

    def __await__(self):
        yield from self.future


class Guard:
    async def __aenter__(self):
        await self.enter()

    async def enter(self):
        await forever()

    async def __aexit__(self, *error):
        pass


def forever():
    return asyncio.get_event_loop().create_future()


async def waits():
    await forever()


async def wraps(coroutine):
    return await coroutine


# --- locks


async def locks():
    lock, semaphore = asyncio.Lock(), asyncio.Semaphore(2)
    condition, event = asyncio.Condition(), asyncio.Event()

    async def holds(what):
        async with what:
            await forever()

    async def takes(what):
        async with what:
            pass

    async def takes_by_call(what):
        await what.acquire()

    async def waits_for_condition():
        async with condition:
            await condition.wait()

    async def waits_for_event():
        await event.wait()

    start(holds(lock), "lock holder", "future")
    start(holds(semaphore), "semaphore holder 1", "future")
    start(wraps(holds(semaphore)), "semaphore holder 2", "future")
    await settle()
    start(takes(lock), "lock taker", "lock", holders=["lock holder"])
    start(takes_by_call(lock), "lock caller", "lock", holders=["lock holder"])
    both = ["semaphore holder 1", "semaphore holder 2"]
    start(takes(semaphore), "semaphore taker", "semaphore", holders=both)
    start(waits_for_condition(), "condition waiter", "condition")
    start(waits_for_event(), "event waiter", "event")


# --- queues and streams


async def queues():
    empty, full, unfinished = asyncio.Queue(), asyncio.Queue(1), asyncio.Queue()
    full.put_nowait(1)
    unfinished.put_nowait(1)

    async def gets():
        while True:
            await empty.get()

    async def puts():
        await full.put(2)

    async def joins():
        await unfinished.join()

    async def reads(reader):
        await reader.readline()

    start(gets(), "queue getter", "queue_get")
    start(puts(), "queue putter", "queue_put")
    start(joins(), "queue joiner", "queue_join")

    async def writes(writer):
        writer.write(bytes(1 << 24))
        await writer.drain()

    start(reads(asyncio.StreamReader()), "stream reader", "stream_read")
    for family, name in [(socket.AF_INET, "TCP"), (socket.AF_UNIX, "unix")]:
        server = socket.socket(family)
        if family == socket.AF_INET:
            server.bind(("127.0.0.1", 0))
            target = "127.0.0.1:%d" % server.getsockname()[1]
            connect = asyncio.open_connection(*server.getsockname())
        else:
            target = sys.argv[1] + ".socket"
            server.bind(target)
            connect = asyncio.open_unix_connection(target)
        server.listen(1)
        reader, writer = await connect
        KEPT.extend([server, reader, writer])
        start(reads(reader), name + " reader", "stream_read")
        start(writes(writer), name + " writer", "stream_write")
        SAID[name + " reader"]["target"] = SAID[name + " writer"]["target"] = target


# --- several at once


async def several():
    async def gathers():
        await asyncio.gather(*[child("gathered {}".format(i), "gatherer") for i in range(3)])

    async def gathers_groups():
        inner = asyncio.gather(child("inner gathered", "outer gatherer"))
        await asyncio.gather(inner, child("outer gathered", "outer gatherer"))

    async def waits_for_first():
        await asyncio.wait(
            [child("first", "waiter"), child("second", "waiter")],
            return_when=asyncio.FIRST_COMPLETED,
        )

    async def waits_for_one():
        await asyncio.wait_for(child("timed", "timer"), 100000)

    async def shields():
        await asyncio.shield(child("shielded", "shielder"))

    async def takes_as_they_come():
        for one in asyncio.as_completed([child("completing", "completer")]):
            await one

    def child(name, awaiter):
        return start(waits(), name, "future", awaited_by=[awaiter])

    async def awaits_task():
        await child("task's task", "task awaiter")

    start(gathers(), "gatherer", "gather")
    start(gathers_groups(), "outer gatherer", "gather")
    start(waits_for_first(), "waiter", "wait")
    # From 3.12 on it awaits the task itself.
    start(waits_for_one(), "timer", "task" if sys.version_info >= (3, 12) else "wait")
    start(shields(), "shielder", "future")
    start(takes_as_they_come(), "completer", "queue_get")
    start(awaits_task(), "task awaiter", "task")
    if hasattr(asyncio, "TaskGroup"):
        start(task_group(), "group", "task_group")


async def task_group():
    async with asyncio.TaskGroup() as group:
        for i in range(2):
            name = "group member {}".format(i)
            say(group.create_task(waits(), name=name), name, "future", awaited_by=["group"])


async def ring():
    pair = []

    async def awaits_other(index):
        await asyncio.sleep(0)
        await pair[index]

    pair.append(start(awaits_other(1), "ring 0", "task", awaited_by=["ring 1"]))
    pair.append(start(awaits_other(0), "ring 1", "task", awaited_by=["ring 0"]))


# --- what runs elsewhere


async def elsewhere(gate):
    loop = asyncio.get_event_loop()
    executor = concurrent.futures.ThreadPoolExecutor(1)

    async def runs_in_executor():
        await loop.run_in_executor(executor, gate.wait)

    async def runs_child(process):
        await process.wait()

    start(runs_in_executor(), "executor user", "executor")
    if hasattr(asyncio, "to_thread"):
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))

        async def runs_in_thread():
            await asyncio.to_thread(gate.wait)

        start(runs_in_thread(), "thread user", "executor")
    # It ends with this process.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=subprocess.PIPE
    )
    KEPT.append(process)
    start(runs_child(process), "parent", "process")
    SAID["parent"]["pid"] = process.pid


# --- kinds of coroutines


async def numbers():
    for number in itertools.count():
        if number:
            await forever()
        yield number


@types.coroutine
def old_style():
    yield from forever()


async def has_variables(gate, first, *rest, only=1.5, **more):
    row = {"id": first, "states": ["new", rest]}
    password = "hunter2"
    shared = [first]

    def uses():
        return shared, row

    await inner_variables(uses, first + 1)
    return password


async def inner_variables(function, number):
    text = "number %d" % number
    async for count in counts(text):
        del count
        await forever()
    return function


async def counts(text):
    for i in range(3):
        yield i, text


async def never_begins(first, second="two"):
    third = first
    await forever()
    return third


async def kinds():
    async def iterates():
        async for _ in numbers():
            pass

    async def asks_for_next():
        generator = numbers()
        await generator.__anext__()
        await generator.__anext__()

    async def enters():
        async with Guard():
            pass

    async def awaits_old_style():
        await old_style()

    async def awaits_handmade():
        await Handmade(forever())

    async def deep(depth):
        if depth:
            await deep(depth - 1)
        else:
            await forever()

    start(iterates(), "generator reader", "future")
    start(asks_for_next(), "next caller", "future")
    start(enters(), "enterer", "future")
    start(awaits_old_style(), "old style", "future")
    start(awaits_handmade(), "handmade", "future")
    start(deep(50), "deep", "future")
    start(asyncio.sleep(100000), "sleeper", "sleep")
    start(wraps(asyncio.sleep(100000)), "wrapped sleeper", "sleep")
    for i in range(2):
        some = has_variables(None, i, "a", 2, only=None, more={"key": (1, 2)})
        start(some, "with variables {}".format(i), "future")
    start(waits(), "n\u00e4me \u4e16", "future")


class OwnTask(asyncio.Task):
    """With a dict, behind what the C type has."""


def make_own(coroutine, loop, name):
    task = OwnTask(coroutine, loop=loop)
    return named(task, name)


def make_in_python(coroutine, loop, name):
    return named(asyncio.tasks._PyTask(coroutine, loop=loop), name)


def make_eagerly(coroutine, loop, name):
    return asyncio.Task(coroutine, loop=loop, name=name, eager_start=True)


def named(task, name):
    if NEW_TASK_NAMES:
        task.set_name(name)
    return task


async def classes():
    start(waits(), "own task", "future", make=make_own)
    start(waits(), "python task", "future", make=make_in_python)

    async def awaits_python_task():
        await start(
            waits(), "awaited python task", "future", ["python awaiter"], make=make_in_python
        )

    start(awaits_python_task(), "python awaiter", "task", make=make_in_python)
    if sys.version_info >= (3, 12):
        start(waits(), "eager task", "future", make=make_eagerly)


# --- the program


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def main(gate):
    await locks()
    await queues()
    await several()
    await ring()
    await elsewhere(gate)
    await kinds()
    await classes()
    await settle()
    loop = asyncio.get_event_loop()
    future = loop.create_future()

    async def waits_for_future():
        await future

    async def is_not_started():
        await forever()

    start(waits_for_future(), "ready", None, state="ready")
    await settle()

    def stand_still():
        future.set_result(None)
        start(is_not_started(), "created", None, state="created")
        start(never_begins(1), "new with arguments", None, state="created")
        gate.wait()

    loop.call_soon(stand_still)
    never = asyncio.Event()
    await never.wait()


def run_main(gate):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    task = loop.create_task(main(gate))
    say(named(task, "main"), "main", "event")
    loop.run_until_complete(task)


def other_loop(gate):
    """Its task runs, and calls functions that are no coroutines."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def runs():
        await inner()

    async def inner():
        calls()

    def calls():
        gate.wait()

    say(named(loop.create_task(waits()), "other waiter"), "other waiter", "future")
    task = loop.create_task(runs())
    say(named(task, "runner"), "runner", None, state="running")
    loop.run_until_complete(task)


def abandon_loop():
    """A thread that ends, with a task that is not done."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    say(named(loop.create_task(waits()), "abandoned"), "abandoned", "future")
    loop.run_until_complete(asyncio.sleep(0))
    KEPT.append(loop)


class Stage(_truth.Stage):
    def truth(self, without, own=None):
        truth = super().truth(without, own)
        truth["tasks"] = [describe(task) for task in KEPT if hasattr(task, "get_stack")]
        return truth


def describe(task):
    name = NAMES[id(task)]
    frames = list(_task_truth.chain(getattr(task, "_coro", None) or task.get_coro()))
    return dict(
        SAID[name],
        id=id(task),
        name=name,
        frames=[_truth.describe(frame) for frame in frames],
        variables=[_task_truth.variables(frame) for frame in frames],
    )


def run():
    stage = Stage(sys.argv[1])
    thread = threading.Thread(target=abandon_loop)
    thread.start()
    thread.join()
    stage.play(other_loop)
    # Threads of executors.
    stage.count()
    if hasattr(asyncio, "to_thread"):
        stage.count()
    if (3, 8) <= sys.version_info < (3, 12):
        # It waits for the child: ThreadedChildWatcher.
        stage.count(elsewhere=True)
    stage.tell()
    run_main(stage.gate)


if __name__ == "__main__":
    run()
    os._exit(0)
