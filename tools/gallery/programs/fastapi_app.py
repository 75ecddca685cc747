"""A handler that blocks its event loop."""

import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def report() -> dict[str, int]:
    time.sleep(0.05)
    return {"orders": sum(range(20_000))}


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}
