"""Processes that wait for each other: process_circles.py FACTS_FILE KIND

The facts have the child and the call that it will be blocked in, what this process waits for, what
the child waits for as far as a reader of this process can prove it, whether that is a circle, and
which other processes are in it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

FACTS_FILE, KIND = sys.argv[1:]
TO_CHILD = os.pipe()
os.setpgid(0, 0)  # So that the test can end the children, too.


def tell(child, kind, peer_wait, circle, threads=1, child_call="read", others=()):
    facts = {
        "child": child,
        "kind": kind,
        "peer_wait": peer_wait,
        "circle": circle,
        "threads": threads,
        "child_call": child_call,
        "others": list(others),
    }
    with open(FACTS_FILE + ".part", "w") as file:
        json.dump(facts, file)
    os.rename(FACTS_FILE + ".part", FACTS_FILE)


def read_from_each_other():
    """Returns the child and what to read from it. The child waits for this process."""
    to_parent = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(TO_CHILD[1])
        os.close(to_parent[0])
        os.read(TO_CHILD[0], 1)
        os._exit(0)
    os.close(TO_CHILD[0])
    os.close(to_parent[1])
    return child, to_parent[0]


def pipes():
    child, file = read_from_each_other()
    tell(child, "pipe", "pipe", True)
    os.read(file, 1)


def sockets():
    """As multiprocessing.Pipe() makes them."""
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        here.close()
        there.recv(1)
        os._exit(0)
    there.close()
    tell(child, "socket", "socket", True, child_call="recv")
    here.recv(1)


def through_a_third():
    """This process reads from a child, which reads from another one, which reads from this one.

    All have all ends.
    """
    to_first, to_second, to_parent = os.pipe(), os.pipe(), os.pipe()
    second = os.fork()
    if second == 0:
        os.read(to_second[0], 1)
        os._exit(0)
    first = os.fork()
    if first == 0:
        os.read(to_first[0], 1)
        os._exit(0)
    tell(first, "pipe", None, True, others=[second])
    os.read(to_parent[0], 1)


def through_one_that_sleeps():
    """As through_a_third(), but one of them would go on by itself."""
    to_first, to_parent = os.pipe(), os.pipe()
    second = os.fork()
    if second == 0:
        signal.pause()
        os._exit(0)
    first = os.fork()
    if first == 0:
        os.read(to_first[0], 1)
        os._exit(0)
    tell(first, "pipe", None, False)
    os.read(to_parent[0], 1)


def one_is_stopped():
    """What it waits for has been written already."""
    child, file = read_from_each_other()
    while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.001)
    os.kill(child, signal.SIGSTOP)
    os.write(TO_CHILD[1], b".")
    tell(child, "pipe", None, False)
    os.read(file, 1)


def with_a_timer():
    """Whose handler could write to the child."""
    signal.signal(signal.SIGALRM, lambda *_: os.write(TO_CHILD[1], b"."))
    child, file = read_from_each_other()
    tell(child, "pipe", None, False)
    os.read(file, 1)


def with_another_thread():
    """Which could write to the child."""
    child, file = read_from_each_other()
    threading.Thread(target=os.read, args=(os.pipe()[0], 1), daemon=True).start()
    tell(child, "pipe", "pipe", False, threads=2)
    os.read(file, 1)


def fifos():
    """Which another process could open at any time."""
    paths = [FACTS_FILE + name for name in (".to_child", ".to_parent")]
    for path in paths:
        os.mkfifo(path)
    child = os.fork()
    if child == 0:
        os.open(paths[1], os.O_WRONLY)
        os.read(os.open(paths[0], os.O_RDONLY), 1)
        os._exit(0)
    file = os.open(paths[1], os.O_RDONLY)
    os.open(paths[0], os.O_WRONLY)
    tell(child, "pipe", None, False)
    os.read(file, 1)


def full_pipe():
    """The child writes more than this process, which waits for its end, has read."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import os; os.write(1, bytes(1 << 20))"], stdout=subprocess.PIPE
    )
    tell(child.pid, "process", "pipe", True, child_call="write")
    child.wait()


globals()[KIND]()
