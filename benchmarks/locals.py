#!/usr/bin/env python3
"""A dump with `--locals`, compared with other tools: how long the target was paused.

The target has 10 threads of 20 frames with 10 variables each (benchmarks/locals_target.py). One thread
measures the gaps in which it did not run: its longest gap around a dump is the cost of the dump,
whatever the tool reports. The others wait, or change their variables all the time. If they change them,
the gaps include waiting for the GIL, so only the pause that pystack reports is shown. Each round runs
every tool once.

    python benchmarks/locals.py [--rounds 20] [--json FILE] [INTERPRETER ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from dumps import Gaps
from peers import clean_environment, conditions, own_command, own_environment, peer

from interpreters import available
from targets import Interpreter

THREADS = 10
FOLDER = Path(__file__).parent


def commands(pid: int) -> dict[str, list[str]]:
    return {
        "pystack dump --locals": [*own_command(), "dump", "--locals", "--json", str(pid)],
        "PyStack --locals": [str(peer("pystack-peer")), "remote", "--locals", str(pid)],
        "py-spy --locals": [str(peer("py-spy")), "dump", "--locals", "--pid", str(pid)],
    }


def measure(interpreter: Interpreter, how: str, rounds: int) -> dict[str, dict[str, float]]:
    samples: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        gaps = Gaps(Path(folder) / "gaps")
        code = (FOLDER / "locals_target.py").read_text()
        program = ["-c", code, f"{folder}/gaps", str(THREADS), how]
        target = interpreter.spawn(program, stdout=subprocess.PIPE, text=True)
        try:
            assert target.process.stdout is not None
            target.process.stdout.readline()
            for _ in range(rounds):
                for name, command in commands(target.pid).items():
                    run(name, command, gaps, samples)
        finally:
            target.kill()
    return {
        name: {key: statistics.median(values) for key, values in row.items() if values}
        for name, row in samples.items()
    }


def run(
    name: str, command: list[str], gaps: Gaps, samples: dict[str, dict[str, list[float]]]
) -> None:
    own = name.startswith("pystack ")
    gaps.begin()
    begin = time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        env=own_environment() if own else clean_environment(),
        check=False,
    )
    taken = time.perf_counter() - begin
    row = samples.setdefault(name, {"command ms": [], "gap ms": [], "says ms": []})
    if done.returncode != 0:
        return
    row["command ms"].append(taken * 1e3)
    row["gap ms"].append(gaps.longest_ns() / 1e6)
    if own:
        dump = json.loads(done.stdout)
        full = [f for t in dump["threads"] for f in t["frames"] if f["function"] == "down"]
        assert all(len(frame["variables"]) >= 2 for frame in full)
        row["says ms"].append(dump["stop_ns"] / 1e6)


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    own = rows["pystack dump --locals"]
    print(f"\n{title:34} {'command':>12} {'ratio':>7} {'longest gap':>12} {'ratio':>7}")
    for name, row in rows.items():
        if "command ms" not in row:
            print(f"{name:34} {'failed':>12}")
            continue
        print(
            f"{name:34} {row['command ms']:9.1f} ms {row['command ms'] / own['command ms']:6.1f}x"
            f" {row['gap ms']:9.2f} ms {row['gap ms'] / own['gap ms']:6.1f}x"
        )
    print(f"{'reported by pystack: stopped':34} {'':20} {own['says ms']:9.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "interpreters", nargs="*", default=["3.8-pyenv", "3.11-pyenv", "3.13-pyenv"]
    )
    options = parser.parse_args()
    print(f"{THREADS} threads, {options.rounds} rounds; {conditions()}")
    results = {}
    for interpreter in available():
        if interpreter.name not in options.interpreters:
            continue
        for how in ("waiting", "changing"):
            title = f"{interpreter.name}, {how}"
            results[title] = measure(interpreter, how, options.rounds)
            show(title, results[title])
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
