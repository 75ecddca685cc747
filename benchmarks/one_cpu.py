#!/usr/bin/env python3
"""How much other programs slow down if they share one CPU with a busy target and its recorder.

Target, tool and a shell are bound to one CPU. The shell starts ten programs, one after the other. Their
time is measured alone, beside the target, and beside the target and each tool, which samples as fast as
it can. Results are the median and the worst time; each round runs every tool once.

    python benchmarks/one_cpu.py [--rounds 9] [--rate 10000] [INTERPRETER ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import clean_environment, conditions, own_command, own_environment, peer

from interpreters import by_name

BUSY = "while True: sum(i * i for i in range(1000))"
FORKS = "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done"
#: For a tool, to be in the middle of its recording.
WARM_UP_S = 1.5
TIMES_EACH = 5


def tools(pid: int, rate: int, folder: Path) -> dict[str, list[str]]:
    own = [*own_command(), "record", str(pid), "-r", str(rate), "-d", "60"]
    own += ["-o", str(folder / "own.txt"), "-f", "folded"]
    spy = [str(peer("py-spy")), "record", "-p", str(pid), "-r", str(rate), "-d", "60"]
    spy += ["-f", "raw", "-o", str(folder / "spy.txt")]
    return {
        "pystack": own,
        "pystack --block": [*own, "--block"],
        "pystack --native": [*own, "--native"],
        "pystack --native --max-cpu 100%": [*own, "--native", "--max-cpu", "100%"],
        "pystack --native --no-priority": [*own, "--native", "--no-priority"],
        "py-spy --nonblocking": [*spy, "--nonblocking"],
        "py-spy": spy,
        "py-spy --native": [*spy, "--native"],
    }


@contextmanager
def running(command: list[str], own: bool = False) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=own_environment() if own else clean_environment(),
    )
    try:
        time.sleep(WARM_UP_S)
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode}: {' '.join(command)}")
        yield process.pid
    finally:
        process.kill()
        process.wait()


def forks_ms() -> list[float]:
    times = []
    for _ in range(TIMES_EACH):
        begin = time.perf_counter()
        subprocess.run(["/bin/sh", "-c", FORKS], check=True)
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("interpreters", nargs="*", default=["3.11-pyenv"])
    options = parser.parse_args()
    print(f"{options.rounds} rounds at {options.rate} Hz; {conditions()}")
    # All that are started from here on.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in options.interpreters:
        found: dict[str, list[float]] = {"nothing else": forks_ms()}
        with (
            tempfile.TemporaryDirectory() as folder,
            running(by_name(name).command("-c", BUSY)) as pid,
        ):
            for _ in range(options.rounds):
                found.setdefault("the target", []).extend(forks_ms())
                for tool, command in tools(pid, options.rate, Path(folder)).items():
                    with running(command, own=tool.startswith("pystack")):
                        found.setdefault(tool, []).extend(forks_ms())
        base = statistics.median(found["the target"])
        print(f"\n{name + ': ten programs beside':40} {'median':>10} {'ratio':>7} {'worst':>10}")
        for who, times in found.items():
            middle = statistics.median(times)
            print(f"{who:40} {middle:7.1f} ms {middle / base:6.1f}x {max(times):7.1f} ms")


if __name__ == "__main__":
    main()
