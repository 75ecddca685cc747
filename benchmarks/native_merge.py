#!/usr/bin/env python3
"""Counts the samples of `record --native` that are kept, complete, and correct.

The target runs Python functions that C functions call, in turn: sorted(key=...), functools.reduce,
list.sort, map and generators, sqlite3 and ctypes callbacks, a C++ extension with callbacks three levels
deep, threads that C++ creates, and matrix products in BLAS if numpy is installed. For each interpreter
it prints:

- attempted: samples of a thread. kept: attempts that gave a stack; the others by cause.
- whole: kept stacks without a gap, followed by the reasons of the gaps.
- wrong: whole stacks in which the C function between two Python functions is missing, or which do not
  begin where the thread does.

    python benchmarks/native_merge.py [--samples 10000] [--rate 1000] [INTERPRETER ...]

Fails if not all are kept, less than 99.9 % are whole, or one is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import pystack
from interpreters import available, numpy_folder
from native_scenes import build_extension
from process_state import wait_until
from pystack.sampling import FrameKind
from sampled_stacks import SampledStacks
from targets import Interpreter

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats

TARGET = Path(__file__).with_name("native_merge_target.py")
LEAST_WHOLE = 0.999

#: Which C functions may stand between a Python function and the one that it calls through them.
BETWEEN = {
    ("by_sorted", "key"): {"builtins.sorted", "list.sort"},
    ("in_thread", "key"): {"builtins.sorted", "list.sort"},
    ("by_reduce", "add"): {"_functools.reduce"},
    ("by_comparison", "__lt__"): {"list.sort"},
    ("by_map", "change"): {"map.__next__"},
    ("by_map", "generate"): {"map.__next__"},
    ("by_sqlite", "scalar"): {"sqlite3_step"},
    ("by_qsort", "compare"): {"qsort", "qsort_r", "__GI___qsort_r"},
    ("by_extension", "level_1"): {"ext::apply"},
    ("level_1", "level_2"): {"ext::apply"},
    ("level_2", "level_3"): {"ext::apply"},
}
#: The Python functions with which a thread begins, and that call the next one directly.
FIRST = {"<module>", "in_thread"}
GAP = "<native frames are missing"


class Stack(NamedTuple):
    names: tuple[str, ...]  # outermost first
    is_native: tuple[bool, ...]

    def gaps(self) -> set[str]:
        return {name for name in self.names if name.startswith(GAP)}

    def fault(self) -> str | None:
        """Why a whole stack is impossible; None if it is correct."""
        python = [place for place, native in enumerate(self.is_native) if not native]
        if not python:
            return None
        if self.names[python[0]] not in FIRST:
            return f"begins with {self.names[python[0]]}"
        for outer, inner in itertools.pairwise(python):
            # Newer versions have qualified names.
            call = (self.names[outer], self.names[inner].rpartition(".")[2])
            between = self.names[outer + 1 : inner]
            wanted = BETWEEN.get(call)
            if wanted is not None and wanted.isdisjoint(between):
                return f"{call[0]} calls {call[1]} through {' > '.join(between) or 'nothing'}"
            if wanted is None and between:
                return f"{' > '.join(between)} between {call[0]} and {call[1]}"
        return None


class Recorded(NamedTuple):
    stats: SamplerStats
    stacks: Counter[Stack]


def record(pid: int, samples: int, rate_hz: float) -> Recorded:
    """Records until that many samples were attempted."""
    sampler = pystack.open_sampler(pid, rate_hz=rate_hz, native=pystack.Native())
    tables = SampledStacks()
    counts: Counter[int] = Counter()
    sampler.start()
    deadline = time.monotonic() + 20 * samples / rate_hz
    while True:
        batch = sampler.next_batch(0.1)
        if batch is not None:
            tables.add(batch)
        if tables.stats["attempted"] >= samples or time.monotonic() > deadline:
            sampler.stop()
        if batch is None:
            continue
        for stack, count in zip(batch.stack, batch.count, strict=True):
            counts[stack] += count
        if batch.finished:
            break

    def decode(stack: int) -> Stack:
        frames = tables.frames(stack)
        return Stack(
            tuple(frame.function for frame in frames),
            tuple(frame.kind != FrameKind.PYTHON for frame in frames),
        )

    stacks: Counter[Stack] = Counter()
    for stack, count in counts.items():
        stacks[decode(stack)] += count
    return Recorded(tables.stats, stacks)


def measure(interpreter: Interpreter, samples: int, rate_hz: float) -> bool:
    """Prints a line for the interpreter and one per problem. Returns whether there was none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_extension(interpreter, folder)
        # Roots of other distributions have the temporary folder, and not this one.
        program = shutil.copy(TARGET, folder)
        arguments = [str(program), str(folder / "ready"), str(folder)]
        numpy = numpy_folder(interpreter.version[1])
        if numpy.exists() and interpreter.root is None and not interpreter.free_threaded:
            arguments.append(str(numpy))
        with interpreter.spawn(
            arguments, stdin=subprocess.DEVNULL, env={"OPENBLAS_NUM_THREADS": "1"}
        ) as target:
            ready = folder / "ready"
            wait_until(lambda: ready.exists() or target.process.poll() is not None, "it is ready")
            scenes = ready.read_text().split()
            recorded = record(target.pid, samples, rate_hz)
    stats = recorded.stats
    partly: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for stack, count in recorded.stacks.items():
        if gaps := stack.gaps():
            partly[" and ".join(sorted(gaps))] += count
        elif fault := stack.fault():
            wrong[fault] += count
    taken, tried = stats["taken"], stats["attempted"]
    whole = taken - stats["partly_merged"]
    lost = {cause: stats[cause] for cause in ("torn", "failed", "vanished") if stats[cause]}
    print(
        f"{interpreter.name:20} {tried:6} attempted  {100 * taken / tried:7.3f} % kept"
        f"  {100 * whole / taken:7.3f} % whole  {wrong.total():4} wrong  {len(scenes)} scenes"
        f"  {tried / (stats['elapsed_ns'] / 1e9):5.0f}/s",
        flush=True,
    )
    for cause, count in lost.items():
        print(f"    {count} {cause}")
    for reason, count in partly.most_common():
        print(f"    {count} {reason}")
    for fault, count in wrong.most_common(10):
        print(f"    {count} wrong: {fault}")
    return not lost and not wrong and whole >= LEAST_WHOLE * taken


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--samples", type=int, default=10_000, help="samples per interpreter; default 10000"
    )
    parser.add_argument("--rate", type=float, default=1000, help="samples per second; default 1000")
    parser.add_argument("interpreters", nargs="*", metavar="INTERPRETER", help="default: all")
    arguments = parser.parse_args()
    chosen = [
        one
        for one in available()
        if not arguments.interpreters or one.name in arguments.interpreters
    ]
    good = [measure(one, arguments.samples, arguments.rate) for one in chosen]
    return 0 if chosen and all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
