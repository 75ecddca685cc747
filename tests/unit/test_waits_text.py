"""What a thread waits for, in the head of its stack, and circles at the top."""

from __future__ import annotations

from typing import Any

import pytest

from pystack.model import Snapshot
from pystack.render.text import render_text
from raw_snapshots import raw_snapshot, raw_task, raw_thread

WAIT: dict[str, Any] = {
    "kind": "futex",
    "call": "futex",
    "address": None,
    "type": None,
    "name": None,
    "is_timed": False,
    "left_ns": None,
    "timeout_ns": None,
    "fd": None,
    "file_count": None,
    "target": None,
    "pid": None,
    "command": None,
    "kernel_function": None,
    "kernel_stack": [],
    "other_ends": [],
    "pool_processes": [],
    "peer_wait": None,
    "process_circle": [],
    "holders": [],
}


def holder(tid: int | None, proof: str = "owner", **fields: Any) -> dict[str, Any]:
    ident = 0x7F0000000000 + (tid or 0)
    return {
        "tid": tid,
        "python_thread_id": ident,
        "proof": proof,
        "file": None,
        "line": None,
        "task": None,
        **fields,
    }


def waiting(tid: int, **wait: Any) -> Any:
    return raw_thread(tid, waits_for={**WAIT, **wait})


def lines(*threads: Any, **fields: Any) -> list[str]:
    return list(render_text(Snapshot.from_raw(raw_snapshot(*threads, **fields))))


def state_of(tid: int, *threads: Any) -> str:
    (head,) = [line for line in lines(*threads) if line.startswith(f"Thread {tid} ")]
    return head.partition("[")[2].partition("]")[0]


LOCK = {"kind": "lock", "type": "_thread.lock", "name": "Account.lock"}
IN_BLOCK: dict[str, Any] = {"proof": "with_block", "file": "/srv/app.py", "line": 12}


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        ({}, "waiting for a lock or condition that is unknown"),
        (LOCK, "waiting for a lock (Account.lock), holder unknown"),
        (
            {**LOCK, "holders": [holder(2, **IN_BLOCK)]},
            'waiting for a lock (Account.lock), held by 2 "thread-2" in a with block at app.py:12',
        ),
        (
            {**LOCK, "holders": [holder(1, **IN_BLOCK)]},
            "waiting for a lock (Account.lock), held by itself in a with block at app.py:12",
        ),
        (
            {"kind": "lock", "type": "_thread.RLock", "holders": [holder(2)]},
            'waiting for an RLock, held by 2 "thread-2"',
        ),
        (
            {"kind": "lock", "type": "_thread.RLock", "holders": [holder(None)]},
            "waiting for an RLock, held by a thread that has ended",
        ),
        (
            {"kind": "future", "type": "a.Future", "holders": [holder(2, "event_loop")]},
            'waiting for the result of a Future, from the event loop of 2 "thread-2"',
        ),
        (
            {"kind": "future", "type": "a.Future", "holders": [holder(1, "event_loop")]},
            "waiting for the result of a Future, from its own event loop",
        ),
        ({"kind": "pthread_condition"}, "waiting on a pthread condition"),
        (
            {"kind": "mutex", "holders": [holder(2)]},
            'waiting for a pthread mutex, held by 2 "thread-2"',
        ),
        (
            {"kind": "condition", "type": "threading.Condition", "name": "Pool.idle"},
            "waiting on a Condition (Pool.idle)",
        ),
        (
            {
                "kind": "event",
                "type": "threading.Event",
                "is_timed": True,
                "left_ns": 2_000_000_000,
            },
            "waiting for an Event to be set, 2.0 s left",
        ),
        ({"kind": "semaphore", "type": "threading.Semaphore"}, "waiting for a Semaphore"),
        (
            {"kind": "semaphore", "type": "_multiprocessing.SemLock", "name": "Lock._semlock"},
            "waiting for a semaphore of multiprocessing (Lock._semlock)",
        ),
        ({"kind": "barrier", "type": "threading.Barrier"}, "waiting at a Barrier"),
        (
            {"kind": "queue_item", "type": "queue.Queue", "name": "jobs"},
            "waiting for an item of a Queue (jobs)",
        ),
        ({"kind": "work", "type": "_queue.SimpleQueue"}, "waiting for work in a thread pool"),
        ({"kind": "queue_space", "type": "queue.LifoQueue"}, "waiting for space in a LifoQueue"),
        ({"kind": "queue_tasks", "type": "queue.Queue"}, "waiting for all tasks of a Queue"),
        (
            {"kind": "thread", "name": "worker", "holders": [holder(2, "thread")]},
            'waiting for thread 2 "thread-2" to end',
        ),
        ({"kind": "thread", "name": "worker"}, 'waiting for thread "worker" to end'),
        (
            {"kind": "future", "type": "concurrent.futures._base.Future"},
            "waiting for the result of a Future",
        ),
        (
            {"kind": "import_lock", "name": "numpy", "holders": [holder(2)]},
            'waiting for the import of numpy by 2 "thread-2"',
        ),
        ({"kind": "timer", "is_timed": True, "left_ns": 5_000_000}, "in a sleep, 5.0 ms left"),
        ({"kind": "timer", "is_timed": True}, "in a sleep"),
        (
            {"kind": "poll", "file_count": 3, "is_timed": True, "timeout_ns": 1_000_000_000},
            "waiting for any of 3 files, at most 1.0 s",
        ),
        ({"kind": "poll", "call": "select"}, "waiting for files"),
        (
            {"kind": "poll", "call": "epoll_wait", "fd": 4},
            "waiting for events of an epoll set",
        ),
        (
            {"kind": "socket", "fd": 7, "target": "TCP 10.0.0.1:5 -> 10.0.0.2:5432, ESTABLISHED"},
            "waiting for a socket TCP 10.0.0.1:5 -> 10.0.0.2:5432, ESTABLISHED",
        ),
        (
            {"kind": "socket", "fd": 7, "target": "unix socket /run/app.sock"},
            "waiting for a unix socket /run/app.sock",
        ),
        ({"kind": "pipe", "fd": 7}, "waiting for a pipe (fd 7)"),
        (
            {
                "kind": "future",
                "type": "concurrent.futures._base.Future",
                "pool_processes": [{"pid": pid, "command": "app"} for pid in range(71, 77)],
            },
            "waiting for the result of a Future, in a process pool: 71, 72, 73, 74 and 2 more",
        ),
        (
            {"kind": "pipe", "fd": 7, "other_ends": [{"pid": 99, "command": "cat"}]},
            "waiting for a pipe (fd 7), other end: 99 (cat)",
        ),
        (
            {
                "kind": "pipe",
                "fd": 7,
                "other_ends": [{"pid": pid, "command": None} for pid in (4711, 98, 99)],
            },
            "waiting for a pipe (fd 7), other end: 98, 99, this process",
        ),
        (
            {"kind": "pipe", "fd": 7, "other_ends": [{"pid": 4711, "command": "a"}]},
            "waiting for a pipe (fd 7), whose other end only this process is seen to have",
        ),
        ({"kind": "terminal", "target": "/dev/pts/3"}, "waiting for a terminal /dev/pts/3"),
        ({"kind": "descriptor", "fd": 7}, "waiting for a file (fd 7)"),
        (
            {"kind": "process", "pid": 99, "command": "sleep 100"},
            "waiting for child 99 (sleep 100)",
        ),
        ({"kind": "process"}, "waiting for a child"),
        (
            {"kind": "process", "pid": 99, "command": "a", "peer_wait": "pipe"},
            "waiting for child 99 (a), which waits for a pipe whose other end only this process has",
        ),
        (
            {"kind": "file_lock", "target": "/x\x1b", "pid": 9, "command": "a"},
            "waiting for a file lock of /x\\x1b, held by 9 (a)",
        ),
        ({"kind": "signal"}, "waiting for a signal"),
        (
            {
                "kind": "semaphore",
                "type": "threading.Semaphore",
                "holders": [holder(2, **IN_BLOCK)],
            },
            'waiting for a Semaphore, held by 2 "thread-2" in a with block at app.py:12',
        ),
        ({"kind": "kernel"}, "waiting in the kernel"),
        (
            {"kind": "kernel", "kernel_function": "kernel_clone"},
            "waiting in the kernel, at kernel_clone of the kernel",
        ),
        (
            {"kind": "file", "target": "/mnt/a", "kernel_function": "nfs_wait"},
            "waiting for a file /mnt/a, at nfs_wait of the kernel",
        ),
    ],
)
def test_waits(wait: dict[str, Any], text: str) -> None:
    assert state_of(1, waiting(1, **wait), raw_thread(2)) == text


def test_a_deadlock_is_the_first_thing_that_is_said() -> None:
    threads = [
        raw_thread(1),
        waiting(2, **LOCK, holders=[holder(3, **IN_BLOCK)]),
        waiting(3, kind="thread", holders=[holder(2, "thread")]),
    ]
    assert lines(*threads, deadlocks=[[1, 2]])[1] == (
        'Deadlock: 2 "thread-2" waits for a lock (Account.lock) held by 3 "thread-3" in a with'
        ' block at app.py:12, which waits for thread 2 "thread-2" to end.'
    )


def test_a_task_that_holds_a_lock() -> None:
    task = raw_task("fetch", id=7)
    own = waiting(1, **LOCK, holders=[holder(1, **IN_BLOCK, task=7)])
    other = waiting(2, **LOCK, holders=[holder(1, **IN_BLOCK, task=7)])
    unlisted = waiting(3, **LOCK, holders=[holder(1, **IN_BLOCK, task=8)])
    said = lines(own, other, unlisted, deadlocks=[[0]], tasks=[task])
    held = "waiting for a lock (Account.lock), held by"
    place = "in a with block at app.py:12"
    assert said[1] == (
        'Deadlock: 1 "thread-1" waits for a lock (Account.lock) held by task fetch of its own event'
        f" loop {place}."
    )
    text = "\n".join(said)
    assert f"{held} task fetch of its own event loop {place}]" in text
    assert f'{held} task fetch of the event loop of 1 "thread-1" {place}]' in text
    assert f'{held} a task of the event loop of 1 "thread-1" {place}]' in text


def test_a_deadlock_of_two_processes() -> None:
    child = waiting(1, kind="process", pid=99, command="make", peer_wait="pipe")
    assert lines(child, deadlocks=[[0]])[1] == (
        'Deadlock: 1 "thread-1" waits for child 99 (make), which waits for a pipe whose other end only'
        " this process has."
    )


def test_a_deadlock_of_three_processes() -> None:
    peers = [
        {"pid": 98, "command": "b", "kind": "socket", "enders": [99, 4711]},
        {"pid": 99, "command": "c", "kind": "process", "enders": [98]},
    ]
    ends = [{"pid": 98, "command": "b"}]
    thread = waiting(1, kind="pipe", fd=3, other_ends=ends, process_circle=peers)
    assert lines(thread, deadlocks=[[0]])[1] == (
        'Deadlock: 1 "thread-1" waits for a pipe (fd 3), other end: 98 (b); 98 waits for a unix socket whose'
        " other end only 99 and this process have; 99 (c) waits for 98 to end."
    )


def heads(*threads: Any, **fields: Any) -> list[str]:
    return [line for line in lines(*threads, **fields) if line.startswith("Thread")]


@pytest.mark.parametrize("kind", ["lock", "mutex", "import_lock"])
def test_threads_that_one_lock_keeps_from_running_are_one_group(kind: str) -> None:
    owner = holder(99, **IN_BLOCK)
    waiters = [
        waiting(tid, kind=kind, address=8, is_timed=True, left_ns=tid, holders=[owner])
        for tid in range(1, 51)
    ]
    (head,) = heads(*waiters)
    assert head.startswith('Threads 1, 2, 3, 4, 5, 6, 7, 8, 42 more "thread-1", ')
    assert head.endswith("(50 threads, most recent call last):")
    assert "99" in head
    assert "left" not in head


def test_threads_that_different_locks_keep_from_running_are_not_grouped() -> None:
    assert len(heads(*[waiting(tid, **LOCK, address=tid) for tid in (1, 2)])) == 2
    imports = [waiting(tid, kind="import_lock", name=f"module{tid}") for tid in (1, 2)]
    assert len(heads(*imports)) == 2
    holders = [waiting(tid, **LOCK, holders=[holder(tid + 5)]) for tid in (1, 2)]
    assert len(heads(*holders)) == 2


def test_threads_of_a_circle_are_not_grouped() -> None:
    waiters = [waiting(tid, **LOCK, holders=[holder(1, **IN_BLOCK)]) for tid in (1, 2, 3)]
    one, others = heads(*waiters, deadlocks=[[0]])
    assert "held by itself in a with block" in one
    assert others.startswith("Threads 2, 3 ")


def test_not_each_thread_of_a_group_waits_for_itself() -> None:
    waiters = [waiting(tid, **LOCK, holders=[holder(1, **IN_BLOCK)]) for tid in (1, 2)]
    (head,) = heads(*waiters)
    assert 'held by 1 "thread-1" in a with block' in head


def test_idle_threads_are_grouped_whatever_the_objects_are() -> None:
    queues = [
        waiting(1, kind="queue_item", type="queue.Queue", name="jobs", address=one)
        for one in (8, 9)
    ]
    assert any(line.startswith("Threads 1, 1 ") for line in lines(*queues))
    sockets = [waiting(tid, kind="socket", target=f"TCP {tid}") for tid in (1, 2)]
    (head,) = [line for line in lines(*sockets) if line.startswith("Threads")]
    assert "[waiting for a socket]" in head
