"""Tasks that all wait for one semaphore, whose holders wait for something that never comes."""

import asyncio
import os


async def fetch(limit: asyncio.Semaphore, answer: asyncio.Event) -> None:
    async with limit:
        await answer.wait()


async def main() -> None:
    limit, answer = asyncio.Semaphore(4), asyncio.Event()
    tasks = [
        asyncio.create_task(fetch(limit, answer), name=f"fetch-{number}") for number in range(200)
    ]
    await asyncio.sleep(0)
    print(os.getpid(), flush=True)
    await asyncio.gather(*tasks)


asyncio.run(main())
