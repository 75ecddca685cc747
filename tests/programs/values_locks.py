"""Frames with locks, and with what threading and queue build of them."""

import queue
import threading

import _truth
from _values import expect


def named(value, state):
    """As repr() of newer versions shows these."""
    return "<%s.%s at %#x: %s>" % (
        type(value).__module__,
        type(value).__qualname__,
        id(value),
        state,
    )


def attributes(value):
    return ", ".join("%s=%r" % item for item in value.__dict__.items())


class LoudEvent(threading.Event):
    pass


class Event:
    def __init__(self):
        self._flag = True


@_truth.scene
def scene_locks(gate):
    free, taken = threading.Lock(), threading.Lock()
    taken.acquire()
    free_again, once, twice = threading.RLock(), threading.RLock(), threading.RLock()
    with free_again:
        pass
    once.acquire()
    twice.acquire()
    twice.acquire()
    rows = [taken, once]
    expect(locals())
    gate.wait()


@_truth.scene
def scene_synchronizers(gate):
    unset, event, loud, other = threading.Event(), threading.Event(), LoudEvent(), Event()
    event.set()
    semaphore, bounded = threading.Semaphore(2), threading.BoundedSemaphore(3)
    bounded.acquire()
    condition = threading.Condition()
    on_lock = threading.Condition(threading.Lock())
    on_lock.acquire()
    expect(
        locals(),
        unset=named(unset, "unset"),
        event=named(event, "set"),
        loud="LoudEvent(_cond=%r, _flag=False)" % loud._cond,
        other="Event(_flag=True)",
        semaphore=named(semaphore, "value=2"),
        bounded=named(bounded, "value=2/3"),
    )
    gate.wait()


@_truth.scene
def scene_queues(gate):
    empty, full, last = queue.Queue(), queue.Queue(2), queue.LifoQueue()
    for item in "ab":
        full.put(item)
        last.put(item)
    ordered = queue.PriorityQueue()
    ordered.put(1)
    torn = queue.Queue()
    del torn.unfinished_tasks, torn.mutex, torn.not_empty, torn.not_full, torn.all_tasks_done
    text = attributes(torn)
    expect(
        locals(),
        empty=named(empty, "0 items, maxsize=0, unfinished_tasks=0, queue=deque([])"),
        full=named(full, "2 items, maxsize=2, unfinished_tasks=2, queue=deque(['a', 'b'])"),
        last=named(last, "2 items, maxsize=0, unfinished_tasks=2, queue=['a', 'b']"),
        ordered=named(ordered, "1 items, maxsize=0, unfinished_tasks=1, queue=[1]"),
        torn="Queue(%s)" % text,
    )
    gate.wait()
