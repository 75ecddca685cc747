"""Tasks of anyio that wait, and that then stand still.

Usage: anyio_tasks.py TRUTH_FILE FOLDER BACKEND

FOLDER has the packages. The truth has `tasks`: names, kinds and parents, as the program made them.
"""

import os
import sys

sys.path.insert(0, sys.argv[2])
import _truth  # noqa: E402
import anyio  # noqa: E402

TASKS = []


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

    async def stands_still():
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        gate.wait()

    async with anyio.create_task_group() as group:
        start(group, sleeps, name="sleeper", kind="sleep", parent="")
        start(group, waits, name="waiter", kind="event", parent="")
        start(group, has_children, name="family", kind="task_group", parent="")
        start(group, has_busy_group, name="busy group", kind="sleep", parent="")
        start(group, stands_still, name="runner", kind=None, parent="")


class Stage(_truth.Stage):
    def truth(self, without, own=None):
        return dict(super().truth(without, own), tasks=TASKS)


def run():
    stage = Stage(sys.argv[1])
    stage.tell()
    anyio.run(main, stage.gate, backend=sys.argv[3])


if __name__ == "__main__":
    import anyio.lowlevel

    run()
    os._exit(0)
