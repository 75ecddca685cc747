"""Threads that wait, each for something else, and what a reader must say of them.

    waits.py FACTS_FILE

The facts name threads by threading.Thread.name. Once they are written, every thread is on its way
to its wait, and nothing runs any more when all have arrived. Whoever holds something waits to read
from a pipe that nobody writes to.
"""

import asyncio
import concurrent.futures
import contextlib
import fcntl
import importlib.util
import json
import os
import queue
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import _libc
from _sections import section, section_in_section

FACTS = {}
KEPT = []
NEVER, NEVER_WRITTEN = os.pipe()
FACTS_FILE = os.path.abspath(sys.argv[1])
FOLDER = os.path.dirname(FACTS_FILE)
GLOBAL_LOCK = threading.Lock()
os.chdir(FOLDER)  # Where its core is to be.


def wait_for_ever():
    os.read(NEVER, 1)


def case(kind, **facts):
    """A function that a thread of its own runs; the thread has the name of the function."""

    def add(function):
        FACTS[function.__name__] = dict(facts, kind=kind)
        KEPT.append(threading.Thread(target=function, name=function.__name__, daemon=True))
        return function

    return add


def held_by(lock):
    """Another thread, which has the lock in a with block for ever. Returns when it has it."""
    has_it = threading.Event()

    def hold():
        with lock:
            has_it.set()
            wait_for_ever()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    has_it.wait()
    return holder.name


class Account:
    def __init__(self, lock):
        self.lock = lock


class Slotted:
    __slots__ = ("guard",)


account, recursive, slotted = Account(threading.Lock()), Account(threading.RLock()), Slotted()
slotted.guard = threading.RLock()
taken, with_taken, released, reused = (threading.Lock() for _ in range(4))
taken.acquire()
condition, on_reused = threading.Condition(), threading.Condition(reused)
event, semaphore = threading.Event(), threading.Semaphore(0)
barrier = threading.Barrier(2)
empty, full, unfinished = queue.Queue(), queue.Queue(1), queue.Queue()
full.put(1)
unfinished.put(1)
future = concurrent.futures.Future()
LOCK = "_thread.lock"
RLOCK = "_thread.RLock"


@case("lock", type=LOCK, name="Account.lock", holder=(held_by(account.lock), "with_block"))
def with_lock():
    mine = account
    with mine.lock:
        pass


@case("lock", type=LOCK, name="GLOBAL_LOCK", holder=(held_by(GLOBAL_LOCK), "with_block"))
def global_lock():
    GLOBAL_LOCK.acquire()


@case("lock", type=LOCK, name="taken", holder=None)
def lock_without_known_holder():
    taken.acquire()


@case("lock", type=RLOCK, name="Account.lock", holder=(held_by(recursive.lock), "owner"))
def with_rlock():
    mine = recursive
    with mine.lock:
        pass


@case("lock", type=RLOCK, name="Slotted.guard", holder=(held_by(slotted.guard), "owner"))
def rlock_in_slot():
    mine = slotted
    mine.guard.acquire()


@case("lock", type=LOCK, name="with_taken", holder=("lock_of_itself", "with_block"))
def lock_of_itself():
    with with_taken:
        with with_taken:
            pass


@contextlib.contextmanager
def after_section(lock):
    with lock:
        pass
    lock.acquire()
    yield


in_section, in_two_sections, behind_section = (threading.Lock() for _ in range(3))


@case("lock", type=LOCK, name="in_section", holder=(held_by(section(in_section)), "with_block"))
def lock_of_a_section():
    in_section.acquire()


@case(
    "lock",
    type=LOCK,
    name="in_two_sections",
    holder=(held_by(section_in_section(in_two_sections)), "with_block"),
)
def lock_of_a_section_in_a_section():
    in_two_sections.acquire()


# Who has a lock of a stack is unknown: it need not have been entered.
in_stack, exits = threading.Lock(), contextlib.ExitStack()
exits.push(in_stack)
held_by(exits)
in_stack.acquire()


@case("lock", type=LOCK, name="in_stack", holder=None)
def lock_of_a_stack():
    in_stack.acquire()


held_by(after_section(behind_section))


@case("lock", type=LOCK, name="behind_section", holder=None)
def lock_behind_a_section():
    behind_section.acquire()


@case("condition", type="threading.Condition", name="condition", holder=None)
def waits_for_condition():
    with condition:
        condition.wait()


@case("condition", type="threading.Condition", name="on_reused", holder=None)
def released_in_with_block():
    with reused:
        on_reused.wait()


@case("lock", type=LOCK, name="reused", holder=None)
def not_held_by_who_released_it():
    # released_in_with_block is in a with block of it, and has released it.
    while not on_reused._waiters:
        time.sleep(0.001)
    reused.acquire()
    reused.acquire()


@case("condition", type="threading.Condition", name="condition", holder=None)
def waits_for_predicate():
    with condition:
        condition.wait_for(lambda: False)


@case("event", type="threading.Event", name="event", holder=None)
def waits_for_event():
    event.wait()


@case("event", type="threading.Event", name="event", holder=None, is_timed=True)
def waits_for_event_with_timeout():
    event.wait(100000)


@case("semaphore", type="threading.Semaphore", name="semaphore", holder=None)
def waits_for_semaphore():
    with semaphore:
        pass


shared, has_shared = threading.Semaphore(2), threading.Barrier(3)


def holds_shared():
    with shared:
        has_shared.wait()
        wait_for_ever()


sharers = [threading.Thread(target=holds_shared, name="sharer %d" % i, daemon=True) for i in (1, 2)]
for sharer in sharers:
    sharer.start()
has_shared.wait()


@case(
    "semaphore",
    type="threading.Semaphore",
    name="shared",
    holders=[("sharer 1", "with_block"), ("sharer 2", "with_block")],
)
def waits_for_held_semaphore():
    shared.acquire()


try:
    import multiprocessing

    # Its memory is in cores, as its file has no name.
    of_processes = multiprocessing.get_context("fork").Lock()
except (ImportError, OSError):  # Where there is no /dev/shm.
    pass
else:
    SEM_LOCK = "_multiprocessing.SemLock"
    of_processes.acquire()

    @case("semaphore", type=SEM_LOCK, name="Lock._semlock", holder=None, is_timed=False)
    def with_lock_of_processes():
        with of_processes:
            pass

    @case("semaphore", type=SEM_LOCK, name="Lock._semlock", holder=None, is_timed=True)
    def acquires_lock_of_processes():
        mine = of_processes
        mine.acquire(True, 100000)


libc_version = _libc.libc_version()
if libc_version and importlib.util.find_spec("_ctypes"):
    import ctypes

    libc, is_musl = ctypes.CDLL(None), libc_version == "musl"
    mutexes = [ctypes.create_string_buffer(64) for _ in range(2)]
    attributes = ctypes.create_string_buffer(16)
    libc.pthread_mutexattr_init(attributes)
    libc.pthread_mutexattr_settype(attributes, 1)  # PTHREAD_MUTEX_RECURSIVE
    libc.pthread_mutex_init(mutexes[1], attributes)

    def hold_mutex(mutex):
        has_it = threading.Event()

        def hold():
            libc.pthread_mutex_lock(mutex)
            has_it.set()
            wait_for_ever()

        holder = threading.Thread(target=hold, daemon=True)
        holder.start()
        has_it.wait()
        return holder.name

    normal_mutex, holder_of_normal = ctypes.addressof(mutexes[0]), hold_mutex(mutexes[0])
    owned = {"kind": "mutex", "address": normal_mutex, "holder": (holder_of_normal, "owner")}
    # musl does not write down the owner.
    anonymous = {"kind": "futex", "address": normal_mutex + 4, "holder": None}

    @case(**(anonymous if is_musl else owned))
    def locks_mutex():
        libc.pthread_mutex_lock(mutexes[0])

    @case("mutex", address=ctypes.addressof(mutexes[1]), holder=(hold_mutex(mutexes[1]), "owner"))
    def locks_recursive_mutex():
        libc.pthread_mutex_lock(mutexes[1])

    native_condition, its_mutex = (ctypes.create_string_buffer(64) for _ in range(2))

    @case("futex" if is_musl else "pthread_condition", is_timed=False, holder=None)
    def waits_on_native_condition():
        libc.pthread_mutex_lock(its_mutex)
        libc.pthread_cond_wait(native_condition, its_mutex)

    def thread_of_pthreads():
        """Its pthread_t, and what must be kept while it runs."""
        runs = threading.Event()

        @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        def run(_):
            threading.current_thread().name = "of_pthreads"
            runs.set()
            wait_for_ever()

        thread = ctypes.c_ulong()
        libc.pthread_create(ctypes.byref(thread), None, run, None)
        runs.wait()
        return thread, run

    native_thread, runs_native_thread = thread_of_pthreads()

    # Newer ones wait for a word that says nothing of the thread.
    has_tid = is_musl or tuple(map(int, libc_version.split()[1].split("."))) < (2, 43)

    @case("thread" if has_tid else "futex", holder=("of_pthreads", "thread") if has_tid else None)
    def joins_native_thread():
        libc.pthread_join(native_thread, None)

    # Words that no mutex has: its owner is no thread.
    no_mutex = ctypes.create_string_buffer(64)
    no_mutex[:20] = struct.pack("iiiii", 2, 0, 1, 1, 0)

    @case("futex", address=ctypes.addressof(no_mutex), holder=None)
    def waits_for_unknown_word():
        libc.syscall(202, no_mutex, 128, 2, None, None, 0)  # FUTEX_WAIT_PRIVATE


@case("barrier", type="threading.Barrier", name="barrier", holder=None)
def waits_at_barrier():
    barrier.wait()


@case("queue_item", type="queue.Queue", name="empty", holder=None)
def gets_from_queue():
    empty.get()


if hasattr(queue, "SimpleQueue"):
    simple, simple_in_python = queue.SimpleQueue(), queue._PySimpleQueue()

    @case("queue_item", type="_queue.SimpleQueue", name="simple", holder=None)
    def gets_from_simple_queue():
        simple.get()

    @case("queue_item", type="_queue.SimpleQueue", name="simple", is_timed=True)
    def gets_from_simple_queue_with_timeout():
        get = simple.get
        get(True, 100000)

    @case("queue_item", type="queue._PySimpleQueue", name="simple_in_python", holder=None)
    def gets_from_simple_queue_in_python():
        simple_in_python.get()


@case("queue_space", type="queue.Queue", name="full", holder=None)
def puts_into_queue():
    full.put(2)


@case("queue_tasks", type="queue.Queue", name="unfinished", holder=None)
def joins_queue():
    unfinished.join()


@case("thread", type="threading.Thread", name="with_lock", holder=("with_lock", "thread"))
def joins_thread():
    KEPT[0].join()


@case("future", type="concurrent.futures._base.Future", name="future", holder=None)
def waits_for_future():
    future.result()


def module_that_blocks():
    with open(os.path.join(FOLDER, "imported_for_ever.py"), "w") as file:
        file.write("import os\nos.read(%d, 1)\n" % NEVER)
    sys.path.insert(0, FOLDER)

    def run():
        import imported_for_ever  # noqa: F401, PLC0415

    importer = threading.Thread(target=run, daemon=True)
    importer.start()
    while "imported_for_ever" not in sys.modules:
        time.sleep(0.001)
    return importer.name


@case("import_lock", name="imported_for_ever", holder=(module_that_blocks(), "owner"))
def imports():
    import imported_for_ever  # noqa: F401, PLC0415


@case("timer", is_timed=True)
def sleeps():
    time.sleep(100000)


@case("poll", file_count=1, is_timed=True)
def selects():
    select.select([NEVER], [], [], 100000)


@case("poll", file_count=2, is_timed=False)
def polls():
    poll = select.poll()
    poll.register(NEVER, select.POLLIN)
    poll.register(0, 0)
    poll.poll()


@case("poll", is_timed=False)
def runs_event_loop():
    asyncio.new_event_loop().run_forever()


@case("poll", is_timed=False)
def waits_in_epoll():
    epoll = select.epoll()
    epoll.register(NEVER, select.EPOLLIN)
    epoll.poll()


server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(1)
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
here, there = socket.socketpair()
named = socket.socket(socket.AF_UNIX)
named.bind(os.path.join(FOLDER, "socket"))
named.listen(1)
datagrams = socket.socket(type=socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))


def address(one):
    return "%s:%d" % one


@case("socket", fd=server.fileno(), target="TCP %s, LISTEN" % address(server.getsockname()))
def accepts():
    server.accept()


@case(
    "socket",
    fd=client.fileno(),
    target="TCP %s -> %s, ESTABLISHED"
    % (address(client.getsockname()), address(client.getpeername())),
)
def receives():
    client.recv(1)


@case("socket", fd=here.fileno(), target="unix socket", other_ends=[os.getpid()])
def receives_from_unix_socket():
    here.recv(1)


@case("socket", fd=named.fileno(), target="unix socket %s" % named.getsockname())
def accepts_at_unix_socket():
    named.accept()


@case("socket", fd=datagrams.fileno(), target="UDP %s" % address(datagrams.getsockname()))
def receives_datagrams():
    datagrams.recv(1)


@case("pipe", fd=NEVER, other_ends=[os.getpid()])
def reads_pipe():
    wait_for_ever()


os.mkfifo(os.path.join(FOLDER, "fifo"))
fifo = os.open(os.path.join(FOLDER, "fifo"), os.O_RDWR)


@case("pipe", fd=fifo, target=os.path.join(FOLDER, "fifo"), other_ends=[os.getpid()])
def reads_fifo():
    os.read(fifo, 1)


def child_that_waits(*files, **pipes):
    """It has the files open, and ends with this process."""
    return subprocess.Popen(
        [sys.executable, "-c", "import os; os.read(%d, 1)" % NEVER],
        pass_fds=[NEVER, *files],
        stderr=subprocess.DEVNULL,
        **pipes,
    )


writer = child_that_waits(stdout=subprocess.PIPE)
reader = child_that_waits(stdin=subprocess.PIPE)
# Until it is full: a write that is interrupted returns if it has written something.
os.set_blocking(reader.stdin.fileno(), False)
try:
    while True:
        os.write(reader.stdin.fileno(), bytes(4096))
except BlockingIOError:
    os.set_blocking(reader.stdin.fileno(), True)


@case("pipe", fd=writer.stdout.fileno(), other_ends=[writer.pid])
def reads_from_child():
    os.read(writer.stdout.fileno(), 1)


@case("pipe", fd=reader.stdin.fileno(), other_ends=[reader.pid])
def writes_to_child():
    os.write(reader.stdin.fileno(), bytes(1))


mine, of_child = socket.socketpair()
os.set_inheritable(of_child.fileno(), True)
connected = child_that_waits(of_child.fileno())
of_child.close()


@case("socket", fd=mine.fileno(), target="unix socket", other_ends=[connected.pid])
def receives_from_child():
    mine.recv(1)


locked = open(os.path.join(FOLDER, "locked"), "w")
fcntl.flock(locked, fcntl.LOCK_EX)
again = open(os.path.join(FOLDER, "locked"), "w")


@case("file_lock", fd=again.fileno(), target=locked.name, pid=os.getpid())
def locks_file():
    fcntl.flock(again, fcntl.LOCK_EX)


pool = concurrent.futures.ThreadPoolExecutor(1, "pool")
pool.submit(int).result()
pool_queue = "_queue.SimpleQueue" if hasattr(queue, "SimpleQueue") else "queue.Queue"
FACTS["pool_0"] = {"kind": "work", "type": pool_queue, "name": None, "is_timed": False}


child = subprocess.Popen(
    [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
)


@case("process", pid=child.pid)
def waits_for_child():
    child.wait()


main_terminal, terminal = os.openpty()


@case("terminal", fd=terminal, target=os.ttyname(terminal))
def reads_terminal():
    os.read(terminal, 1)


def main():
    for thread in KEPT:
        thread.start()
    with open(FACTS_FILE + ".part", "w") as file:
        json.dump({"waits": FACTS, "threads": threading.active_count(), "child": child.pid}, file)
    os.rename(FACTS_FILE + ".part", FACTS_FILE)
    wait_for_ever()


main()
