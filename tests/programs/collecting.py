"""A garbage collection that does not come to its end, with the GIL free.

Usage: collecting.py TRUTH_FILE explicit|automatic|over
"""

import gc
import sys

import _truth


class Finalized:
    def __init__(self, gate):
        self.gate = gate
        self.itself = self

    def __del__(self):
        if self.gate is not None:
            self.gate.wait()


def explicit(gate):
    Finalized(gate)
    gc.collect()


def automatic(gate):
    while True:
        Finalized(gate)


def over(gate):
    """A collection was, and is no more."""
    Finalized(None)
    gc.collect()
    gate.wait()


def main():
    stage = _truth.Stage(sys.argv[1])
    way = {"explicit": explicit, "automatic": automatic, "over": over}[sys.argv[2]]
    if way is not automatic:
        gc.disable()
    stage.play(lambda gate: gate.wait(), name="bystander")
    stage.play(way)
    stage.tell()
    stage.gate.wait()


if __name__ == "__main__":
    main()
