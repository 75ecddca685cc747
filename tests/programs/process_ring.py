"""Three processes that hand a byte round, each waiting for the one before it.

    process_ring.py FACTS_FILE

Each has only the ends that it uses, as in a circle that stands still. The children end with this
process.
"""

import os
import sys

PIPES = [os.pipe() for _ in range(3)]


def hand_on(number):
    for other, (reads, writes) in enumerate(PIPES):
        if other != number:
            os.close(reads)
        if other != (number + 1) % 3:
            os.close(writes)
    from_previous, to_next = PIPES[number][0], PIPES[(number + 1) % 3][1]
    while os.read(from_previous, 1):
        os.write(to_next, b".")


for child in (1, 2):
    if os.fork() == 0:
        hand_on(child)
        os._exit(0)
os.write(PIPES[1][1], b".")
with open(sys.argv[1], "w") as file:
    file.write("{}")
hand_on(0)
