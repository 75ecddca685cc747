#!/usr/bin/env python3
"""Samples programs whose legal stacks are known, and counts impossible and lost samples.

The programs make about ten million calls per second and never stop: plain calls, recursion of varying
depth, generators, coroutines. They are sampled without being stopped, as fast as possible. Every
distinct stack is checked against the program's text, including the lines of callers. Only samples that
differ from the previous one count: a program without a CPU is easy to read.

    python benchmarks/impossible_stacks.py [--samples 10000000] [--root NAME] [--depth N] [INTERPRETER ...]

Exits with status 1 if a stack was impossible or more than 1 % of the attempts were lost.
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
    parser.add_argument(
        "--depth", type=int, default=0, help="number of frames below all calls; default 0"
    )
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
