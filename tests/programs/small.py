"""A few scenes, for tests that are about something else.

Usage: small.py TRUTH_FILE [FILE_TO_MAP [FILE_TO_LOAD]]

FILE_TO_MAP is mapped as data, FILE_TO_LOAD loaded as a library, and neither is used.
"""

import ctypes
import mmap
import sys

import _truth
import scenes_calls
import scenes_generators
import scenes_names

KEPT = []


def main(threads_of_c=0):
    """`threads_of_c`: so many threads of the process have nothing to do with Python."""
    stage = _truth.Stage(sys.argv[1])
    for _ in range(threads_of_c):
        stage.count(elsewhere=True)
    if len(sys.argv) > 2:
        with open(sys.argv[2], "rb") as file:
            KEPT.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            KEPT.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    if len(sys.argv) > 3:
        KEPT.append(ctypes.CDLL(sys.argv[3]))
    stage.play(scenes_calls.kinds_of_methods)
    stage.play(scenes_generators.yield_from_chain)
    stage.play(scenes_names.ucs_4)
    stage.tell()
    scenes_calls.decorators(stage.gate)


if __name__ == "__main__":
    main()
