"""Does everything to a recorder that a program may do, and ends in one of several ways.

Usage: restless.py exit|abort|exec
"""

import importlib
import os
import resource
import signal
import sys
import threading
import time

THREADS = 1000
AT_ONCE = 25


def short():
    end = time.monotonic() + 0.001
    while time.monotonic() < end:
        pass


def start_threads():
    for _ in range(THREADS // AT_ONCE):
        threads = [threading.Thread(target=short) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def fork():
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def load_modules():
    for name in ("decimal", "sqlite3", "ctypes", "json", "xml.dom.minidom", "unittest.mock"):
        importlib.import_module(name)


def be_stopped():
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        time.sleep(0.3)
        os.kill(parent, signal.SIGCONT)
        os._exit(0)
    os.kill(parent, signal.SIGSTOP)
    os.waitpid(child, 0)


def end(way):
    if way == "abort":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.abort()
    if way == "exec":
        os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), "rest"])


def rest():
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        pass


def main():
    if sys.argv[1] == "rest":
        rest()
        return
    start_threads()
    fork()
    load_modules()
    be_stopped()
    rest()
    end(sys.argv[1])


if __name__ == "__main__":
    main()
