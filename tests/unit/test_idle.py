"""Which waiting threads are idle."""

from __future__ import annotations

import pytest

from pystack.idle import Place, is_idle
from pystack.libraries import is_library
from pystack.waits import WaitKind

LIB = "/usr/lib/python3.13"
SITE = "/srv/venv/lib/python3.13/site-packages"
APP = Place("<module>", "/srv/app.py")
WAIT = Place("Condition.wait", f"{LIB}/threading.py")
GET = Place("Queue.get", f"{LIB}/queue.py")
WORKER = Place("_worker", f"{LIB}/concurrent/futures/thread.py")
START = [
    Place("Thread.run", f"{LIB}/threading.py"),
    Place("Thread._bootstrap", f"{LIB}/threading.py"),
]
LOOP = [
    Place("EpollSelector.select", f"{LIB}/selectors.py"),
    Place("BaseEventLoop._run_once", f"{LIB}/asyncio/base_events.py"),
    Place("run", f"{LIB}/asyncio/runners.py"),
    APP,
]
POOL_PROCESS = [
    Place("SimpleQueue.get", f"{LIB}/multiprocessing/queues.py"),
    Place("worker", f"{LIB}/multiprocessing/pool.py"),
    APP,
]


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ([WORKER, *START], "work"),
        ([WORKER, *START], None),
        ([WAIT, GET, WORKER, *START], "queue_item"),  # 3.6
        (LOOP, "poll"),
        (LOOP[2:], "poll"),  # uvloop
        (POOL_PROCESS, "semaphore"),
        ([Place("Connection._recv", f"{LIB}/multiprocessing/connection.py"), *POOL_PROCESS], "pipe"),
        ([WAIT, GET, Place("Sender.loop", f"{SITE}/agent/sender.py"), *START], "queue_item"),
        ([WAIT, Place("Event.wait", f"{LIB}/threading.py"), Place("run", f"{SITE}/a.py")], "event"),
        ([Place("OutStream._watch_pipe_fd", f"{SITE}/ipykernel/iostream.py"), *START], "pipe"),
        ([Place("select", f"{LIB}/selectors.py"), Place("run", f"{SITE}/watch/a.py"), *START], "poll"),
        ([Place("device", f"{SITE}/zmq/sugar/__init__.py"), Place("run", f"{SITE}/ipykernel/a.py")], "poll"),
    ],
)  # fmt: skip
def test_idle(frames: list[Place], kind: WaitKind | None) -> None:
    assert is_idle(frames, kind)


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ([], None),
        ([APP], "timer"),
        ([Place("handler", "/srv/app.py"), Place("Handle._run", f"{LIB}/asyncio/events.py"), *LOOP[1:]], "timer"),
        ([WORKER, *START], "lock"),
        ([Place("_WorkItem.run", f"{LIB}/concurrent/futures/thread.py"), WORKER, *START], "timer"),
        ([POOL_PROCESS[1], APP], "timer"),  # the work is a function in C
        ([WAIT, Place("Event.wait", f"{LIB}/threading.py"), APP], "event"),
        ([WAIT, GET, APP, *START], "queue_item"),
        ([Place("_wait_for_tstate_lock", f"{LIB}/threading.py"), Place("Thread.join", f"{LIB}/threading.py")], "thread"),
        ([Place("read", f"{SITE}/redis/connection.py"), *START], "socket"),
        ([WAIT, Place("send", f"{SITE}/a.py")], "lock"),
        ([Place("run", f"{SITE}/watch/a.py"), APP], "timer"),  # the main thread
        ([Place("retry", f"{SITE}/watch/a.py"), Place("work", "/srv/app.py"), *START], "timer"),
        ([Place("read", f"{SITE}/files/a.py"), Place("run", f"{SITE}/anyio/a.py"), *START], "pipe"),
        ([Place("communicate", f"{LIB}/subprocess.py"), *START], "poll"),
        ([Place("ping", f"{SITE}/watch/a.py"), Place("_WorkItem.run", f"{LIB}/concurrent/futures/thread.py"), WORKER, *START], "timer"),
        (LOOP, "gil"),
    ],
)  # fmt: skip
def test_not_idle(frames: list[Place], kind: WaitKind | None) -> None:
    assert not is_idle(frames, kind)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/srv/app.py", False),
        ("/home/lib/app.py", False),
        ("<string>", False),
        (f"{LIB}/queue.py", True),
        (f"{SITE}/flask/app.py", True),
        ("/usr/lib/python3/dist-packages/yaml.py", True),
        ("<frozen importlib._bootstrap>", True),
    ],
)
def test_whose_code_it_is(file: str, expected: bool) -> None:
    assert is_library(file) is expected
