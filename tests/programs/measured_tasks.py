"""asyncio tasks that measure themselves how long they are where.

For each line of stdin, prints the seconds by place since the last line "begin", as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time

spent: dict = {}
began: dict = {}  # by task: the place where it is, and since when


def at(place: str) -> None:
    """The running task goes on to the place."""
    now = time.perf_counter()
    task = asyncio.current_task()
    before = began.get(task)
    if before is not None:
        spent[before[0]] = spent.get(before[0], 0.0) + now - before[1]
    began[task] = (place, now)


def measured() -> dict:
    now = time.perf_counter()
    result = dict(spent)
    for place, since in began.values():
        result[place] = result.get(place, 0.0) + now - since
    return result


async def sleeper(number: int) -> None:
    while True:
        at("sleep")
        await asyncio.sleep(0.01 + number % 3 * 0.005)
        at("put")
        await queue.put(number)


async def taker() -> None:
    while True:
        at("get")
        await queue.get()
        at("busy")
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass


async def locked() -> None:
    while True:
        at("lock")
        async with lock:
            at("held")
            await asyncio.sleep(0.02)


async def ending() -> None:
    at("ending")
    await asyncio.sleep(0.03)
    at("done")
    began.pop(asyncio.current_task())


async def maker() -> None:
    """Makes tasks that end."""
    while True:
        at("make")
        task = asyncio.ensure_future(ending())
        await asyncio.wait([task])


async def main() -> None:
    global queue, lock
    queue, lock = asyncio.Queue(3), asyncio.Lock()
    tasks = [*(sleeper(number) for number in range(6)), *(locked() for _ in range(4))]
    running = [asyncio.ensure_future(task) for task in (*tasks, taker(), maker())]
    asyncio.get_event_loop().run_in_executor(None, listen, asyncio.get_event_loop())
    await asyncio.wait(running)


def listen(loop: asyncio.AbstractEventLoop) -> None:
    before: dict = {}
    for line in sys.stdin:
        answer: list = []
        is_done = threading.Event()
        loop.call_soon_threadsafe(lambda: (answer.append(measured()), is_done.set()))
        is_done.wait()
        if line.strip() == "begin":
            before = answer[0]
        since = {place: time - before.get(place, 0.0) for place, time in answer[0].items()}
        print(json.dumps(since), flush=True)


asyncio.run(main())
