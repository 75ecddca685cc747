#!/usr/bin/env python3
"""What the screen of `pystack top` costs beside its sampler.

`top` runs in a terminal of 160 x 50 and watches a program. Its CPU time is the kernel's (/proc/PID/task/*/schedstat): that of the sampling threads,
and that of all others, which make and draw the screen, and find child processes. `record` finds these, too, and writes a file instead. The first
seconds, in which modules are imported, do not count. Each round watches each program once with each; results are medians, in per cent of a core.

    python benchmarks/top_cost.py [--rounds 3] [--seconds 20] [INTERPRETER]
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import clean_environment, conditions, own_command, own_environment

from interpreters import by_name

SAMPLER = "pystack-sampler"
WARM_UP_S = 5

THREADS = """
import threading, time
def work(number):
    while True:
        sum(i * i for i in range(2000 * number))
        time.sleep(0.01)
for number in range(8):
    threading.Thread(target=work, args=(number,), name=f"worker-{number}").start()
"""
TASKS = """
import asyncio
async def work(number):
    while True:
        sum(i * i for i in range(2000))
        await asyncio.sleep(0.02 + number / 1000)
async def main():
    await asyncio.gather(*(work(number) for number in range(50)))
asyncio.run(main())
"""
POOL = """
import multiprocessing
def work(number):
    return sum(i * i for i in range(20_000))
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        while True:
            pool.map(work, range(100))
"""
PROGRAMS = {"8 threads": (THREADS, []), "50 tasks": (TASKS, []), "a pool of 3": (POOL, ["-s"])}


@contextmanager
def program(python: str, text: str) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "program.py")
        script.write_text(text)
        with subprocess.Popen(
            [python, str(script)], env=clean_environment(), start_new_session=True
        ) as process:
            time.sleep(1)
            try:
                yield process.pid
            finally:
                os.killpg(process.pid, 9)


@contextmanager
def recorder(arguments: list[str]) -> Iterator[int]:
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*own_command(), "record", *arguments, "-o", str(Path(folder, "out.pystack"))],
            env=own_environment(),
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


@contextmanager
def screen(arguments: list[str]) -> Iterator[int]:
    """`pystack top` in a terminal that somebody reads."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    environment = {**own_environment(), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [*own_command(), "top", *arguments],
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(its)
        reader = threading.Thread(target=_read, args=(ours,))
        reader.start()
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()
            reader.join()
            os.close(ours)


def _read(terminal: int) -> None:
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:  # the other end is closed
        return


def cpu_s(pid: int) -> tuple[float, float]:
    """Of the sampling threads, and of all others."""
    sampling = others = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
        if (task / "comm").read_text().strip() == SAMPLER:
            sampling += seconds
        else:
            others += seconds
    return sampling, others


def shares(tool: int, seconds: float) -> tuple[float, float]:
    """Of a core that a tool uses: its sampling threads, and all others."""
    time.sleep(WARM_UP_S)
    before = cpu_s(tool)
    begin = time.monotonic()
    time.sleep(seconds)
    after = cpu_s(tool)
    took = time.monotonic() - begin
    return (after[0] - before[0]) / took, (after[1] - before[1]) / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("interpreter", nargs="?", default="3.12-pyenv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    python = str(by_name(options.interpreter).host_executable)
    print(conditions())
    tools = {"top": screen, "record": recorder}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for name, (text, words) in PROGRAMS.items():
            with program(python, text) as pid:
                for tool, started in tools.items():
                    with started([*words, str(pid)]) as watcher:
                        measured = shares(watcher, options.seconds)
                    found.setdefault((name, tool), []).append(measured)
    for (name, tool), rounds in found.items():
        sampling, others = (statistics.median(column) * 100 for column in zip(*rounds, strict=True))
        print(f"{name}, {tool}: sampling {sampling:.2f} %, all else {others:.2f} % of a core")


if __name__ == "__main__":
    main()
