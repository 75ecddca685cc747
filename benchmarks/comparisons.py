#!/usr/bin/env python3
"""How often `diff` sees a change where there is none, and how often it finds one.

The first part draws samples by chance, of a program with 30 functions: pairs of equal runs, with and without phases, and pairs in
which a function with a fifth of the time became a tenth slower (two recordings of 30,000 samples a side). The second part
records a real program, again and again, and compares each recording with the next: the machine's noise is in these.

    python benchmarks/comparisons.py [--pairs 100] [--recordings 21] [--seconds 4] [--rate 500]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions

from drawn_runs import drawn_run
from pystack_profiler.comparison import compare
from pystack_profiler.recording_file import load
from pystack_profiler.view import View

_PROGRAM = """
import json, re, zlib
rows = [{"name": f"row {n}", "values": list(range(n % 40))} for n in range(300)]
def parse(text): return json.loads(text)
def dump(): return json.dumps(rows)
def match(text): return len(re.findall(r"row [0-9]+", text))
def pack(text): return zlib.crc32(text.encode())
def count(rows): return sum(len(row["values"]) for row in rows)
def step():
    text = dump()
    return match(text) + pack(text) + count(parse(text))
while True: step()
"""


def significant(before: list[object], after: list[object]) -> set[str]:
    comparison = compare(before, after, View())  # type: ignore[arg-type]
    return {one.key.function for one in comparison.functions if one.is_significant}


def drawn(pairs: int) -> None:
    for phases in (False, True):
        seen = sum(
            bool(
                significant(
                    [drawn_run(2 * n, phases=phases)], [drawn_run(2 * n + 1, phases=phases)]
                )
            )
            for n in range(pairs)
        )
        kind = "with phases" if phases else "without phases"
        print(f"equal runs {kind}: {pairs - seen} of {pairs} pairs without a change", flush=True)
    found = 0
    for n in range(pairs):
        before = [drawn_run(10_000 + 10 * n + run, ticks=30_000) for run in range(2)]
        after = [drawn_run(90_000 + 10 * n + run, ticks=30_000, slower=1.1) for run in range(2)]
        found += "f0" in significant([*before], [*after])
    print(f"a function 10 % slower: found in {found} of {pairs} pairs", flush=True)


def recorded(count: int, seconds: float, rate_hz: float) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-c", _PROGRAM]) as target,
    ):
        try:
            recordings = []
            for number in range(count):
                path = Path(folder, f"{number}.pystack")
                command = [sys.executable, "-m", "pystack", "record", "-r", str(rate_hz)]
                command += ["-d", str(seconds), "-o", str(path), str(target.pid)]
                subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
                recordings.append(load(str(path)))
        finally:
            target.kill()
    changes = [significant([before], [after]) for before, after in pairwise(recordings)]
    seen = [names for names in changes if names]
    print(
        f"recordings of the same program, {seconds:g} s each: {len(changes) - len(seen)} of {len(changes)} pairs"
        f" without a change{f'; seen: {seen}' if seen else ''}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--recordings", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rate", type=float, default=500)
    options = parser.parse_args()
    print(conditions())
    if options.pairs:
        drawn(options.pairs)
    if options.recordings > 1:
        recorded(options.recordings, options.seconds, options.rate)


if __name__ == "__main__":
    main()
