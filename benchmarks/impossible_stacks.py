#!/usr/bin/env python3
"""Millions of samples of programs whose legal stacks are known: how many are impossible, how many are lost.

The programs make some ten million calls a second and never stop: plain calls, recursion whose depth changes
all the time, generators, coroutines. They are sampled without being stopped, as fast as it goes. Every
different stack is held against the program's text, the lines of callers included. Only samples count that are
new, not as the one before: a program that has no CPU just then is easy to read.

    python benchmarks/impossible_stacks.py [--samples 10000000] [--root NAME] [--depth N] [INTERPRETER ...]

Exit status 1 when a stack was impossible, or more than 1 % of the attempts gave none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions

from calls_program import ROOTS, calling, sample
from interpreters import available
from targets import Interpreter

MOST_LOST = 0.01


def try_one(interpreter: Interpreter, root: str, samples: int, depth: int) -> bool:
    with (
        tempfile.TemporaryDirectory() as folder,
        calling(interpreter, root, Path(folder), depth) as target,
    ):
        found = sample(target.pid, root, samples)
    print(
        f"{interpreter.name:22} {root:11} {found.taken:>11,} samples, {found.moved:>11,} of them new,"
        f" {found.stacks:>6,} stacks {found.taken / found.elapsed_s:>9,.0f}/s  impossible {found.impossible.total():>4}"
        f"  lost {100 * found.lost:.3f} %",
        flush=True,
    )
    for text, count in found.impossible.most_common(5):
        print(f"    {count} x {text}", flush=True)
    return not found.impossible and found.lost <= MOST_LOST


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--root", choices=ROOTS, action="append")
    parser.add_argument("--depth", type=int, default=0, help="so many frames below all calls")
    parser.add_argument("interpreters", nargs="*", metavar="INTERPRETER")
    arguments = parser.parse_args()
    print(conditions())
    good = True
    for interpreter in available():
        if arguments.interpreters and interpreter.name not in arguments.interpreters:
            continue
        for root in arguments.root or ROOTS:
            good &= try_one(interpreter, root, arguments.samples, arguments.depth)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
