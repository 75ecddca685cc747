#!/usr/bin/env python3
"""Millions of samples of programs whose legal stacks are known: how many are impossible, how many are lost.

The programs make some ten million calls a second and never stop: plain calls, recursion whose depth changes
all the time, generators, coroutines. They are sampled without being stopped, as fast as it goes. Every
different stack is held against the program's text, the lines of callers included.

    python benchmarks/impossible_stacks.py [--samples 10000000] [--root NAME] [--depth N] [INTERPRETER ...]

Exit status 1 when a stack was impossible, or more than 1 % of the attempts gave none.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions

import pystack
from call_graph import call_graph, illegal
from interpreters import available
from process_state import wait_until
from sampled_stacks import SampledStacks
from targets import PROGRAMS, Interpreter

CALLS = PROGRAMS / "calls.py"
GRAPH = call_graph(CALLS)
ROOTS = ("chains", "recursion", "generators", "coroutines")
FLAT_OUT_HZ = 1_000_000
MOST_LOST = 0.01


class Stacks:
    """The stacks of a recording, and how often each was seen."""

    def __init__(self) -> None:
        self.tables = SampledStacks()
        self.seen: Counter[int] = Counter()

    def take(self, sampler: pystack.Sampler, timeout_s: float) -> bool:
        batch = sampler.next_batch(timeout_s)
        if batch is None:
            return False
        self.tables.add(batch)
        for stack, count in zip(batch.stack, batch.count, strict=True):
            self.seen[stack] += count
        return not batch.finished

    def path(self, stack: int) -> list[SimpleNamespace]:
        """Outermost first, without the columns that samples lack."""
        return [
            SimpleNamespace(**frame._asdict(), end_line=None, column=None, end_column=None)
            for frame in self.tables.frames(stack)
        ]


def record(pid: int, samples: int) -> tuple[Stacks, pystack.Sampler]:
    stacks = Stacks()
    sampler = pystack.open_sampler(pid, rate_hz=FLAT_OUT_HZ)
    sampler.start()
    while sampler.stats()["taken"] < samples and sampler.end_reason == "running":
        stacks.take(sampler, 0.1)
    sampler.stop()
    while stacks.take(sampler, 0):
        pass
    return stacks, sampler


def try_one(interpreter: Interpreter, root: str, samples: int, depth: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        command = [str(CALLS), str(ready), root, str(depth)]
        with interpreter.spawn(command, stdin=subprocess.DEVNULL) as target:
            wait_until(ready.exists, "the program")
            wait_until(lambda: is_in(target.pid, root), "the calls")
            stacks, sampler = record(target.pid, samples)
    stats = sampler.stats()
    impossible: Counter[str] = Counter()
    for stack, count in stacks.seen.items():
        frames = stacks.path(stack)
        problem = illegal(GRAPH, frames, root)
        if problem is not None:
            text = " > ".join(f"{frame.function}:{frame.line}" for frame in frames)
            impossible[f"{problem}: {text}"] += count
    lost = 1 - stats["taken"] / max(1, stats["attempted"])
    print(
        f"{interpreter.name:22} {root:11} {stats['taken']:>11,} samples of {len(stacks.seen):>7,} stacks"
        f" {stats['taken'] / stats['elapsed_ns'] * 1e9:>9,.0f}/s  impossible {impossible.total():>4}"
        f"  lost {100 * lost:.3f} %",
        flush=True,
    )
    for text, count in impossible.most_common(5):
        print(f"    {count} x {text}", flush=True)
    return not impossible and lost <= MOST_LOST and sampler.end_reason == "stopped"


def is_in(pid: int, root: str) -> bool:
    [thread] = pystack.dump(pid).threads
    return root in [frame.function for frame in thread.python_frames]


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
