"""Many asyncio tasks that are alike.

Usage: many_tasks.py COUNT

Prints a line when all of them wait.
"""

import asyncio
import sys

COUNT = int(sys.argv[1])


async def leaf():
    await asyncio.sleep(100000)


async def middle():
    await leaf()


async def outer():
    await middle()


async def main():
    loop = asyncio.get_event_loop()
    tasks = [loop.create_task(outer()) for _ in range(COUNT)]
    for _ in range(3):
        await asyncio.sleep(0)
    loop.call_soon(print, "ready")
    loop.call_soon(sys.stdout.flush)
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main())
