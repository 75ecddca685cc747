"""Threads: one waits for a lock that nobody releases, one sleeps again and again, one computes."""

import sys
import threading
import time

stuck = threading.Lock()
stuck.acquire()


def blocked():
    stuck.acquire()


def restless():
    while True:
        time.sleep(0.001)


def busy():
    number = 0
    while True:
        number += 1


for work in (blocked, restless, busy):
    threading.Thread(target=work, name=work.__name__, daemon=True).start()
open(sys.argv[1], "w").close()
sys.stdin.read()
