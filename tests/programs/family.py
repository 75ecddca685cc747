"""A process with children of all kinds: forked, spawned, executed by a shell, and not Python.

Usage: family.py SECONDS STATUS

Each Python process works in a function of its own name for so long.
"""

import os
import subprocess
import sys
import time

SCRIPT = """
import time

def {name}(until):
    while time.time() < until:
        sum(range(100))

{name}(time.time() + {seconds})
"""


def work(seconds):
    until = time.time() + seconds
    while time.time() < until:
        sum(range(100))


def forked(seconds):
    work(seconds)


def main():
    seconds, status = float(sys.argv[1]), int(sys.argv[2])
    others = [subprocess.Popen(["sleep", str(seconds)]) for _ in range(3)]
    pid = os.fork()
    if pid == 0:
        forked(seconds)
        os._exit(0)
    spawned = SCRIPT.format(name="spawned", seconds=seconds)
    others.append(subprocess.Popen([sys.executable, "-c", spawned]))
    executed = SCRIPT.format(name="executed", seconds=seconds)
    shell = 'sleep 0.2; exec "$0" -c "$1"'
    others.append(subprocess.Popen(["sh", "-c", shell, sys.executable, executed]))
    for _ in range(20):
        subprocess.call(["true"])
    os.waitpid(pid, 0)
    for other in others:
        other.wait()
    sys.exit(status)


if __name__ == "__main__":
    main()
