"""The program of pure calls, `programs/calls.py`: run, sampled, and held against its own text."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pystack
from call_graph import call_graph, illegal
from process_state import wait_until
from sampled_stacks import SampledStacks
from targets import PROGRAMS, Interpreter, Target

PROGRAM = PROGRAMS / "calls.py"
ROOTS = ("chains", "recursion", "generators", "coroutines")
GRAPH = call_graph(PROGRAM)

_FLAT_OUT_HZ = 1_000_000
_FEW_MOVED = 100


@contextlib.contextmanager
def calling(interpreter: Interpreter, root: str, folder: Path, depth: int = 0) -> Iterator[Target]:
    """The program, once it is in `root`; `depth` frames more are below that."""
    ready, errors = folder / "ready", folder / "stderr.txt"
    command = [str(PROGRAM), str(ready), root, str(depth)]
    with (
        errors.open("wb") as stderr,
        interpreter.spawn(command, stdin=subprocess.DEVNULL, stderr=stderr) as target,
    ):
        wait_until(ready.exists, "the program")

        def is_calling() -> bool:
            assert target.process.poll() is None, errors.read_text()
            [thread] = pystack.dump(target.pid).threads
            return root in [frame.function for frame in thread.python_frames]

        wait_until(is_calling, "the calls")
        yield target
        assert target.process.poll() is None, errors.read_text()


@dataclass
class Samples:
    """Of one run of the program, as fast as it goes, without stopping it."""

    taken: int
    moved: int  # of them, those that are not as the one before
    attempted: int
    elapsed_s: float
    stacks: int  # different ones
    impossible: Counter[str] = field(default_factory=Counter)  # what is wrong, and how often

    @property
    def lost(self) -> float:
        """The share of the attempts that gave no sample."""
        return 1 - self.taken / max(1, self.attempted)


def sample(pid: int, root: str, moved: int, most_s: float = float("inf")) -> Samples:
    """Until so many samples were not as the one before: a program that has no CPU is easy to read. After
    `most_s`, fewer will do.
    """
    tables = SampledStacks()
    seen: Counter[int] = Counter()
    last: int | None = None
    has_moved = 0

    def take(timeout_s: float) -> bool:
        nonlocal last, has_moved
        batch = sampler.next_batch(timeout_s)
        if batch is None:
            return False
        tables.add(batch)
        for stack, count in zip(batch.stack, batch.count, strict=True):
            seen[stack] += count
            has_moved += stack != last
            last = stack
        return not batch.finished

    sampler = pystack.open_sampler(pid, rate_hz=_FLAT_OUT_HZ)
    sampler.start()
    end_s = time.monotonic() + most_s
    while has_moved < (moved if time.monotonic() < end_s else min(moved, _FEW_MOVED)):
        assert sampler.end_reason == "running"
        take(0.1)
    sampler.stop()
    while take(0):
        pass
    stats = tables.stats
    elapsed_s = stats["elapsed_ns"] / 1e9
    found = Samples(stats["taken"], has_moved, stats["attempted"], elapsed_s, len(seen))
    for stack, count in seen.items():
        calls = [(frame.function, frame.line) for frame in tables.frames(stack)]
        problem = illegal_sample(calls, root)
        if problem is not None:
            text = " > ".join(f"{function}:{line}" for function, line in calls)
            found.impossible[f"{problem}: {text}"] += count
    return found


def illegal_sample(calls: Iterable[tuple[str, int | None]], root: str) -> str | None:
    """`illegal` of functions and their lines, outermost first: samples have no columns."""
    frames = [
        SimpleNamespace(
            function=function, file="", line=line, end_line=None, column=None, end_column=None
        )
        for function, line in calls
    ]
    return illegal(GRAPH, frames, root)
