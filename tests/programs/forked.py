"""A child of a process with threads, forked and never exec'd; the truth is the child's.

Usage: forked.py TRUTH_FILE

Of the threads only the one that forked is left in the child; ids and lists have to be put right
there.
"""

import os
import sys
import threading

import _truth


def waits(gate):
    gate.wait()


def fork_from_thread(path, event):
    def fork(gate):
        if os.fork() == 0:
            stage = _truth.Stage(path)
            stage.scenes[threading.get_ident()] = "forking thread"
            for number in range(3):
                stage.play(waits, name="child {}".format(number))
            stage.tell()
            stage.gate.wait()
        event.set()
        gate.wait()

    return fork


def main():
    gate = _truth.Gate()
    for number in range(5):
        threading.Thread(
            target=waits, args=(gate,), name="parent {}".format(number), daemon=True
        ).start()
    forked = threading.Event()
    # Not from the main thread: the child's main thread is then one that the parent knew under
    # another id.
    threading.Thread(
        target=fork_from_thread(sys.argv[1], forked), args=(gate,), name="forks"
    ).start()
    forked.wait()
    gate.wait()


if __name__ == "__main__":
    main()
