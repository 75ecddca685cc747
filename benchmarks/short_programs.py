#!/usr/bin/env python3
"""How truly the shares of programs are told that live for a second or two, recorded from their start.

Each program has two functions of known shares of the time, and takes that time itself: what it measured is the truth. In
one of them the time is spent in the function's own loop, in the other in calls of small functions. Results: the mean
and the largest error in points, over all shares, lives and rounds.

    python benchmarks/short_programs.py [--rounds 5] [--json FILE] [--busy] [INTERPRETER ...]

`--busy`: another program computes on one of the CPUs meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions

from interpreters import available
from targets import Interpreter

PROGRAM = """
import json, sys, time
share, seconds, with_calls, path = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "calls", sys.argv[4]
clock = time.perf_counter
def small(x): return x + 1
def inline(until):
    x = 0
    while clock() < until:
        for _ in range(50): x += 1
def calls(until):
    x = 0
    while clock() < until:
        for _ in range(20): x = small(x)
work = calls if with_calls else inline
def first(s):
    begin = clock(); work(begin + s); return clock() - begin
def second(s):
    begin = clock(); work(begin + s); return clock() - begin
took = {"first": 0.0, "second": 0.0}
end = clock() + seconds
while clock() < end:
    took["first"] += first(0.02 * share)
    took["second"] += second(0.02 * (1 - share))
open(path, "w").write(json.dumps(took))
"""
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
LIVES_S = (0.5, 1.0, 2.0)
RATES = ("100", "1000")


def error_in_points(
    interpreter: Interpreter,
    folder: Path,
    options: list[str],
    share: float,
    life_s: float,
    kind: str,
) -> float:
    program, truth, output = folder / "program.py", folder / "truth.json", folder / "out.folded"
    program.write_text(PROGRAM)
    command = interpreter.command(str(program), str(share), str(life_s), kind, str(truth))
    tool = [sys.executable, "-m", "pystack", "record", *options, "-f", "folded", "-o", str(output)]
    subprocess.run([*tool, "--", *command], check=True, capture_output=True, cwd=folder)
    took = json.loads(truth.read_text())
    told: Counter[str] = Counter()
    for line in output.read_text().splitlines():
        stack, _, microseconds = line.rpartition(" ")
        for name in took:
            if f";{name} (" in stack:
                told[name] += int(microseconds)
    if not told:
        return 100.0
    shares = [counts["first"] / sum(counts.values()) for counts in (told, took)]
    return 100 * abs(shares[0] - shares[1])


def measure(interpreter: Interpreter, rounds: int) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for native in (False, True):
            for rate in RATES:
                options = ["-r", rate, *(["--native"] if native else [])]
                errors = [
                    error_in_points(interpreter, Path(folder), options, share, life_s, kind)
                    for _ in range(rounds)
                    for share in SHARES
                    for life_s in LIVES_S
                    for kind in ("inline", "calls")
                ]
                row = {
                    "interpreter": interpreter.name,
                    "native": native,
                    "rate_hz": rate,
                    "runs": len(errors),
                    "mean_points": round(statistics.mean(errors), 2),
                    "largest_points": round(max(errors), 2),
                }
                rows.append(row)
                print(*row.values(), sep="\t", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("interpreters", nargs="*", default=["3.11", "3.13"])
    options = parser.parse_args()
    chosen = [
        next(one for one in available() if one.name.startswith(name))
        for name in options.interpreters
    ]
    print(conditions())
    print("interpreter\tnative\trate\truns\tmean error\tlargest error (points)")
    spin = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(spin) if options.busy else nullcontext() as other:
        rows = [row for interpreter in chosen for row in measure(interpreter, options.rounds)]
        if other is not None:
            other.kill()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
