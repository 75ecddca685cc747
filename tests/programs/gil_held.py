"""Who holds the GIL and who waits for it is known.

Usage: gil_held.py ROLES_FILE WAKE_FIFO HOLD_FIFO plainly|collecting

One thread holds the GIL in a read that does not release it. A number of others are in reads from
which the test wakes them with a byte each; then they wait for the GIL, and get it never. The others
have no use for it. ROLES_FILE says which is which.
"""

import ctypes
import gc
import os
import sys
import threading

import _truth

WAITERS = 8
IDLERS = 3


def wait_for_the_gil(gate, wake_fd):
    os.read(wake_fd, 1)
    # Only if the GIL was to be had after all.
    os.write(2, b"a waiter got the GIL\n")
    os._exit(1)


def hold_the_gil(hold_fd):
    # Not CDLL: that one releases the GIL around the call.
    ctypes.PyDLL(None).read(hold_fd, ctypes.create_string_buffer(1), 1)
    os._exit(1)


class Finalized:
    def __init__(self, hold_fd):
        self.hold_fd = hold_fd
        self.itself = self

    def __del__(self):
        hold_the_gil(self.hold_fd)


def hold_collecting(hold_fd):
    Finalized(hold_fd)
    gc.collect()


def main():
    roles_path, wake_path, hold_path, way = sys.argv[1:]
    # Both ends, so that opening them does not block and they have no end.
    wake_fd = os.open(wake_path, os.O_RDWR)
    hold_fd = os.open(hold_path, os.O_RDWR)
    gc.disable()
    stage = _truth.Stage(roles_path)
    waiters = [
        stage.play(lambda gate: wait_for_the_gil(gate, wake_fd), name="waiter", elsewhere=True)
        for _ in range(WAITERS)
    ]
    idlers = [stage.play(lambda gate: gate.wait(), name="idler") for _ in range(IDLERS)]

    def holder():
        _truth.wait_until_settled(stage.at_gate, stage.elsewhere)
        roles = {"none": [thread.ident for thread in [*idlers, threading.main_thread()]]}
        roles["waits"] = [thread.ident for thread in waiters]
        roles["holds"] = [threading.get_ident()]
        _truth.write_truth(roles_path, {"roles": roles, "wake_fd": wake_fd, "hold_fd": hold_fd})
        if way == "collecting":
            hold_collecting(hold_fd)
        hold_the_gil(hold_fd)

    threading.Thread(target=holder, name="holder", daemon=True).start()
    stage.gate.wait()


if __name__ == "__main__":
    main()
