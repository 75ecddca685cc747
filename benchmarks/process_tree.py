#!/usr/bin/env python3
"""Recordings of a process and its children at 100 Hz, compared with other tools: the cost per process.

The children are 30 frames deep; two of them compute, the others wait. Results by number of children:

- CPU: share of one core that the tool uses while it samples (start and end do not count), in total and
  per process.
- rate: samples per child and second.

    python benchmarks/process_tree.py [--seconds 5] [--json FILE] [INTERPRETER ...]

PyStack does not sample, and `profiling.sampling` follows only forked children of a program that it started.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions
from recorders import AUSTIN, PY_SPY, PYSTACK, Order, Recorder, cpu_seconds

from interpreters import available
from targets import Interpreter

CHILDREN = (1, 10, 50)
RATE_HZ = 100
BUSY = 2

CHILD = """
import sys
def down(n, work):
    if n == 0:
        work()
    else:
        down(n - 1, work)
def spin():
    while True:
        sum(range(1000))
print("ready", flush=True)
down(28, spin if sys.argv[1] == "busy" else sys.stdin.read)
"""

PARENT = f"""
import subprocess
import sys
children = []
for number in range(int(sys.argv[1])):
    what = "busy" if number < {BUSY} else "waits"
    command = [sys.executable, "-c", {CHILD!r}, what]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    children.append(child)
print("ready", flush=True)
sys.stdin.read()
for child in children:
    child.kill()
    child.wait()
"""


RECORDERS = (PYSTACK, PY_SPY, AUSTIN)


def measure(
    recorder: Recorder, interpreter: Interpreter, children: int, seconds: float
) -> dict[str, float] | str:
    """The share of a core and the samples per process and second, or why it failed."""
    settling_s = 2.0 + children / 20
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "out"
        target = interpreter.spawn(
            ["-c", PARENT, str(children)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with target:
            assert target.process.stdin is not None
            assert target.process.stdout is not None
            target.process.stdout.readline()
            lasts_s = seconds + settling_s + 1
            process = recorder.start(
                Order(interpreter, target.pid, RATE_HZ, lasts_s, file, subprocesses=True)
            )
            try:
                time.sleep(settling_s)
                if process.poll() is not None:
                    return f"ended at once with status {process.returncode}"
                begin, cpu = time.perf_counter(), cpu_seconds(process.pid)
                time.sleep(seconds)
                cpu = (cpu_seconds(process.pid) - cpu) / (time.perf_counter() - begin)
                process.wait(timeout=60 + 10 * seconds)
            except subprocess.TimeoutExpired as error:
                return f"gave up: {error}"
            finally:
                process.kill()
                process.wait()
                target.process.stdin.close()
                target.process.wait()
        if not file.exists():
            return f"wrote nothing, status {process.returncode}"
        samples = recorder.read(file).samples
    processes = children + 1
    return {
        "cpu": cpu,
        "cpu_of_each": cpu / processes,
        "rate": samples / processes / lasts_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("interpreters", nargs="*", default=["3.11-pyenv"])
    options = parser.parse_args()
    results: dict[str, dict[str, dict[str, dict[str, float] | str]]] = {}
    for interpreter in available():
        if interpreter.name not in options.interpreters:
            continue
        for children in CHILDREN:
            print(f"\n{interpreter.name}: {children} children, {RATE_HZ} Hz; {conditions()}")
            print(f"{'':22} {'CPU':>8} {'each':>9} {'rate each':>13}")
            rows = results.setdefault(interpreter.name, {}).setdefault(str(children), {})
            for recorder in RECORDERS:
                row = rows[recorder.name] = measure(
                    recorder, interpreter, children, options.seconds
                )
                if isinstance(row, str):
                    print(f"{recorder.name:22} {row}")
                    continue
                cpu, each = 100 * row["cpu"], 100 * row["cpu_of_each"]
                print(f"{recorder.name:22} {cpu:>6.2f} % {each:>7.2f} % {row['rate']:>11.1f}/s")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
