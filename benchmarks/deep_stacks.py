#!/usr/bin/env python3
"""How many of the planned samples are taken of a thread whose stack is deep.

The innermost frames stand still, or change all the time. Below 3.11, Python code uses the C stack, and the deepest
stack has 30,000 frames.

    python benchmarks/deep_stacks.py [--seconds 2] [INTERPRETER ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions

from interpreters import by_name
from pystack_profiler import record
from pystack_profiler.stats import coverage

TARGET = """
import sys, threading
sys.setrecursionlimit(10**6)
threading.stack_size((1 << 31) - (1 << 20))
depth, still = int(sys.argv[1]), sys.argv[2] == "still"
def leaf(x): return x + 1
def spin():
    x = 0
    while True: x += 1
def calls():
    x = 0
    while True: x = leaf(x)
def down(n):
    if n: return down(n - 1)
    print("ready", flush=True)
    (spin if still else calls)()
thread = threading.Thread(target=down, args=(depth,), daemon=True)
thread.start()
thread.join()
"""
DEPTHS = (100, 1_000, 10_000, 100_000)
DEEPEST_ON_C_STACK = 30_000
RATES = (100, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("interpreters", nargs="*", default=["3.8-pyenv", "3.11-debian"])
    options = parser.parse_args()
    print(conditions())
    for name in options.interpreters:
        interpreter = by_name(name)
        for depth in DEPTHS:
            frames = depth if interpreter.version >= (3, 11) else min(depth, DEEPEST_ON_C_STACK)
            for leaf in ("still", "calls"):
                command = interpreter.command("-c", TARGET, str(frames), leaf)
                with subprocess.Popen(command, stdout=subprocess.PIPE) as target:
                    assert target.stdout is not None
                    target.stdout.readline()
                    parts = []
                    for rate in RATES:
                        recording = record(target.pid, duration_s=options.seconds, rate_hz=rate)
                        taken = 100 * (coverage(recording.stats) or 0)
                        stopped = recording.stats["stopped"]
                        parts.append(f"{rate} Hz {taken:.4g} % ({stopped} stopped)")
                    target.kill()
                print(f"{name}, {frames:,} frames, {leaf}: {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
