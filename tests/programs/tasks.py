"""Named asyncio tasks that take turns, each with coroutines of its own.

Usage: tasks.py SECONDS
"""

import asyncio
import sys
import time


async def alpha(until):
    while time.monotonic() < until:
        work()
        await asyncio.sleep(0)


async def beta(until):
    while time.monotonic() < until:
        await deeper()
        await asyncio.sleep(0)


async def deeper():
    work()


def work():
    end = time.monotonic() + 0.003
    while time.monotonic() < end:
        pass


async def main():
    until = time.monotonic() + float(sys.argv[1])
    loop = asyncio.get_running_loop()
    await asyncio.gather(
        loop.create_task(alpha(until), name="the alpha"),
        loop.create_task(beta(until), name="the beta"),
    )


if __name__ == "__main__":
    asyncio.run(main())
