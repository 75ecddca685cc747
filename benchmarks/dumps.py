#!/usr/bin/env python3
"""A single dump, compared with other tools: how long the target was paused, and the command's run time.

The target is one thread, 500 frames deep (or --depth), that runs all the time and measures the gaps in
which it did not run (benchmarks/gap_target.py). Its longest gap around a dump is the cost of the dump,
whatever the tool reports. Each round runs every tool once, so that all see the same load. Results are
medians; --json writes them as JSON.

    python benchmarks/dumps.py [--native] [--depth 500] [--rounds 20] [--json FILE] [INTERPRETER ...]

With --native, all tools show native frames, merged with Python frames as well as they can.
"""

from __future__ import annotations

import argparse
import json
import mmap
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import clean_environment, conditions, own_command, own_environment, peer

from interpreters import available
from targets import Interpreter

FOLDER = Path(__file__).parent


class Gaps:
    """The longest gap that the target has measured since the last reset."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(16))
        self._file = path.open("r+b")
        self._shared = mmap.mmap(self._file.fileno(), 16)

    def begin(self) -> None:
        self._shared[0:8] = bytes(8)
        self._shared[8] = 1
        while self._shared[8]:
            time.sleep(0.001)

    def longest_ns(self) -> int:
        return int(struct.unpack("Q", self._shared[0:8])[0])


def commands(pid: int, native: bool) -> dict[str, list[str]]:
    own = own_command()
    if native:
        return {
            "pystack dump": [*own, "dump", "--native", "--json", str(pid)],
            "PyStack": [str(peer("pystack-peer")), "remote", "--native", str(pid)],
            "py-spy": [str(peer("py-spy")), "dump", "--native", "--pid", str(pid)],
        }
    return {
        "pystack dump": [*own, "dump", "--json", str(pid)],
        "pystack dump --no-block": [*own, "dump", "--no-block", "--json", str(pid)],
        "PyStack": [str(peer("pystack-peer")), "remote", str(pid)],
        "py-spy": [str(peer("py-spy")), "dump", "--pid", str(pid)],
    }


def measure(
    interpreter: Interpreter, rounds: int, depth: int, native: bool
) -> dict[str, dict[str, float]]:
    samples: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        gaps = Gaps(Path(folder) / "gaps")
        program = ["-c", (FOLDER / "gap_target.py").read_text(), f"{folder}/gaps", str(depth)]
        target = interpreter.spawn(program, stdout=subprocess.PIPE, text=True)
        try:
            assert target.process.stdout is not None
            target.process.stdout.readline()
            for _ in range(rounds):
                for name, command in commands(target.pid, native).items():
                    gaps.begin()
                    begin = time.perf_counter()
                    done = subprocess.run(
                        command,
                        capture_output=True,
                        env=own_environment()
                        if name.startswith("pystack ")
                        else clean_environment(),
                        check=False,
                    )
                    taken = time.perf_counter() - begin
                    row = samples.setdefault(name, {"command ms": [], "gap ms": [], "says ms": []})
                    if done.returncode != 0:
                        continue
                    row["command ms"].append(taken * 1e3)
                    row["gap ms"].append(gaps.longest_ns() / 1e6)
                    if name == "pystack dump":
                        row["says ms"].append(json.loads(done.stdout)["stop_ns"] / 1e6)
        finally:
            target.kill()
    return {
        name: {key: statistics.median(values) for key, values in row.items() if values}
        for name, row in samples.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--native", action="store_true")
    parser.add_argument("--depth", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "interpreters", nargs="*", default=["3.8-pyenv", "3.11-pyenv", "3.13-pyenv"]
    )
    options = parser.parse_args()
    print(f"{options.depth} frames, {options.rounds} rounds; {conditions()}")
    results = {}
    for interpreter in available():
        if interpreter.name not in options.interpreters:
            continue
        rows = results[interpreter.name] = measure(
            interpreter, options.rounds, options.depth, options.native
        )
        own = rows["pystack dump"]
        print(
            f"\n{interpreter.name:28} {'command':>12} {'ratio':>7} {'longest gap':>12} {'ratio':>7}"
        )
        for name, row in rows.items():
            if "command ms" not in row:
                print(f"{name:28} {'failed':>12}")
                continue
            print(
                f"{name:28} {row['command ms']:9.1f} ms {row['command ms'] / own['command ms']:6.1f}x"
                f" {row['gap ms']:9.2f} ms {row['gap ms'] / own['gap ms']:6.1f}x"
            )
        print(f"{'reported by pystack: stopped':28} {'':20} {own['says ms']:9.2f} ms")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
