#!/usr/bin/env python3
"""Whether two builds of pystack are equally fast: for changes that must not cost anything.

Each round runs both builds on the same target, one directly after the other, so that both see the same load. Results are
medians over the rounds, and the medians of the ratios (second build / first build):

- CPU per sample: CPU time of the sampling thread, divided by its samples.
- samples per second, only flat out.
- dump: CPU time of `pystack.dump`, and how long the target was stopped; with block=False, CPU time.
  Of 20 dumps in a round, the least counts.

    python benchmarks/same_speed.py FIRST SECOND [--rounds 9] [--seconds 1.5] [--json FILE] [INTERPRETER ...]

FIRST and SECOND are the Python executables of two environments with pystack, such as `.venv/bin/python`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from recording import Work, spawn

from interpreters import available
from targets import Interpreter

FLAT_OUT_HZ = 1_000_000
WORKS = (
    Work("pure calls, 1 kHz", 1000),
    Work("pure calls, flat out", FLAT_OUT_HZ),
    Work("30 frames, 1 kHz", 1000, 30),
    Work("30 frames, flat out", FLAT_OUT_HZ, 30),
    Work("500 frames, flat out", FLAT_OUT_HZ, 500),
    Work("53 threads, flat out", FLAT_OUT_HZ, 30, 53),
    Work("native, 30 frames, 1 kHz", 1000, 30, native=True),
)
SAMPLE = """
import json, sys, time
import pystack
pid, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
native = pystack.Native() if sys.argv[4] == "native" else None
sampler = pystack.open_sampler(pid, rate_hz=rate, native=native)
sampler.start()
end = time.monotonic() + seconds
batches = []
while time.monotonic() < end:
    batches.append(sampler.next_batch(0.1))
sampler.stop()
while batch := sampler.next_batch(1):
    batches.append(batch)
if hasattr(sampler, "stats"):  # Of a build whose batches have no counts.
    stats = sampler.stats()
else:
    counts = [batch.stats for batch in batches if batch is not None]
    stats = {name: sum(one[name] for one in counts) for name in ("cpu_ns", "taken", "elapsed_ns")}
print(json.dumps({
    "CPU ns per sample": stats["cpu_ns"] / stats["taken"],
    "samples per second": stats["taken"] / stats["elapsed_ns"] * 1e9,
}))
"""
DUMP = """
import json, sys, time
import pystack
pid = int(sys.argv[1])

def least(block):
    found = []
    for _ in range(20):
        before = time.process_time_ns()
        snapshot = pystack.dump(pid, block=block)
        found.append((time.process_time_ns() - before, snapshot.stop_ns))
    return [min(values) for values in zip(*found) if None not in values]

cpu, stopped = least(True)
[running] = least(False)
print(json.dumps({
    "dump CPU ns": cpu, "dump stopped ns": stopped, "running dump CPU ns": running
}))
"""


def run(python: str, code: str, *arguments: object) -> dict[str, float]:
    command = [python, "-c", code, *map(str, arguments)]
    result: dict[str, float] = json.loads(subprocess.check_output(command, cwd="/"))
    return result


@contextmanager
def running(interpreter: Interpreter, work: Work) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "count").write_bytes(bytes(8))
        with spawn(interpreter, work, folder) as target:
            yield target.pid


def round_of(python: str, pid: int, work: Work, seconds: float) -> dict[str, float]:
    kind = "native" if work.native else "python"
    found = run(python, SAMPLE, pid, work.rate_hz, seconds, kind)
    if work.rate_hz < FLAT_OUT_HZ:
        del found["samples per second"]
    return found | run(python, DUMP, pid)


def compare(
    interpreter: Interpreter, work: Work, builds: tuple[str, str], rounds: int, seconds: float
) -> dict[str, tuple[float, float, float]]:
    """For each measure: both medians, and the median ratio."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with running(interpreter, work) as pid:
        for number in range(rounds):
            # Alternately first, as a processor that grows hot is slower for the second one.
            order = builds if number % 2 == 0 else builds[::-1]
            results = {build: round_of(build, pid, work, seconds) for build in order}
            for measure in results[builds[0]]:
                found[measure].append((results[builds[0]][measure], results[builds[1]][measure]))
    return {
        measure: (
            statistics.median(first for first, _ in pairs),
            statistics.median(second for _, second in pairs),
            statistics.median(second / first for first, second in pairs),
        )
        for measure, pairs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("interpreters", nargs="*", metavar="INTERPRETER")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_intermixed_args()
    # Not resolved: the environment is found by the path of the link.
    builds = (str(options.first.absolute()), str(options.second.absolute()))
    everything = {}
    for interpreter in available():
        if options.interpreters and interpreter.name not in options.interpreters:
            continue
        for work in WORKS:
            results = compare(interpreter, work, builds, options.rounds, options.seconds)
            everything[f"{interpreter.name}, {work.name}"] = results
            for measure, (first, second, ratio) in results.items():
                print(
                    f"{interpreter.name:14} {work.name:25} {measure:20}"
                    f" {first:12,.0f} {second:12,.0f} {ratio:7.3f}",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(everything, indent=2))


if __name__ == "__main__":
    main()
