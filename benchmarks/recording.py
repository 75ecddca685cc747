#!/usr/bin/env python3
"""Recordings that do not stop the target, compared with other tools.

For each interpreter and each kind of work, every tool records the same running target in turn. Results:

- rate: samples taken per second, compared with the requested rate. A sample reads all threads once.
- CPU: share of one core that the tool uses while it samples (start and end do not count).
- slowdown: how much less work the target does than just before and after. Noisy unless the machine is idle.
- impossible: the share of samples whose stack the program cannot have; measured only for the program of
  plain calls, whose legal stacks follow from its text. lost: attempts without a sample, if the tool
  reports them.

    python benchmarks/recording.py [--seconds 5] [--json FILE] [--work NAME] [INTERPRETER ...]

`profiling.sampling` is part of 3.15 and reads only 3.15, so it runs only for such targets. PyStack does not
sample. A tool that cannot run here is reported and skipped.
"""

from __future__ import annotations

import argparse
import json
import mmap
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions
from recorders import (
    AUSTIN,
    PY_SPY,
    PY_SPY_STOPPING,
    PYSTACK,
    TACHYON,
    Order,
    Recorder,
    Stack,
    cpu_seconds,
)

from calls_program import PROGRAM, illegal_sample
from interpreters import available
from targets import Interpreter

FOLDER = Path(__file__).parent
ROOT = "chains"
MOST_SLEEPING_HZ = 10_000  # Beyond it nobody sleeps.


@dataclass(frozen=True)
class Work:
    name: str
    rate_hz: int
    depth: int = 0  # 0: the program of pure calls
    threads: int = 1
    native: bool = False


WORKS = (
    Work("pure calls, 1 kHz", 1000),
    Work("30 frames, 100 Hz", 100, 30),
    Work("30 frames, 1 kHz", 1000, 30),
    Work("30 frames, 10 kHz", 10_000, 30),
    Work("500 frames, flat out", 1_000_000, 500),
    Work("53 threads, flat out", 1_000_000, 30, 53),
    Work("1,000 threads, 100 Hz", 100, 30, 1000),
    Work("native, 30 frames, 100 Hz", 100, 30, native=True),
    Work("native, 30 frames, 1 kHz", 1000, 30, native=True),
)


RECORDERS = (PYSTACK, PY_SPY, PY_SPY_STOPPING, AUSTIN, TACHYON)
NATIVE_RECORDERS = (PYSTACK, PY_SPY_STOPPING)  # py-spy must stop the target for it.


class Progress:
    """The work that the target has done so far."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    def per_second(self, seconds: float) -> float:
        before, begin = self._count(), time.perf_counter()
        time.sleep(seconds)
        return (self._count() - before) / (time.perf_counter() - begin)

    def _count(self) -> int:
        return int(struct.unpack("Q", self._shared[0:8])[0])


def spawn(interpreter: Interpreter, work: Work, folder: Path) -> Any:
    if work.depth == 0:
        target = interpreter.spawn(
            [str(PROGRAM), str(folder / "ready"), ROOT], stdin=subprocess.DEVNULL
        )
        while not (folder / "ready").exists():
            time.sleep(0.01)
        return target
    code = (FOLDER / "recording_target.py").read_text()
    arguments = ["-c", code, str(folder / "count"), str(work.depth), str(work.threads)]
    target = interpreter.spawn(arguments, stdout=subprocess.PIPE)
    assert target.process.stdout is not None
    target.process.stdout.readline()
    return target


def measure(
    recorder: Recorder, interpreter: Interpreter, work: Work, seconds: float
) -> dict[str, float] | str:
    """The results of one tool, or why it failed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        progress = Progress(folder / "count")
        file = folder / "out"
        with spawn(interpreter, work, folder) as target:
            time.sleep(0.5)
            before = progress.per_second(seconds / 2)
            process = recorder.start(
                Order(interpreter, target.pid, work.rate_hz, seconds + 2, file, native=work.native)
            )
            try:
                time.sleep(1.5)
                if process.poll() is not None:
                    return f"ended at once with status {process.returncode}"
                begin, cpu = time.perf_counter(), cpu_seconds(process.pid)
                during = progress.per_second(seconds - 0.5)
                cpu = (cpu_seconds(process.pid) - cpu) / (time.perf_counter() - begin)
                process.wait(timeout=60 + 10 * seconds)
            except (subprocess.TimeoutExpired, OSError) as error:
                return f"gave up: {error}"
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
            after = progress.per_second(seconds / 2)
        if not file.exists():
            return f"wrote nothing, status {process.returncode}"
        outcome = recorder.read(file)
    rate = outcome.samples / work.threads / (seconds + 2)
    row = {"rate": rate, "cpu": cpu, "us": cpu / rate * 1e6 if rate else 0.0}
    if work.depth:
        row["slowdown"] = 1 - during / statistics.mean((before, after))
    else:
        row["impossible"] = impossible(outcome.stacks)
    if outcome.lost is not None:
        row["lost"] = outcome.lost
    return row


SLEEPER = """
import time
next_s = time.monotonic()
while True:
    next_s += 1 / {rate}
    time.sleep(max(0, next_s - time.monotonic()))
"""


def floor_of(rate_hz: int) -> float:
    """The share of one core that this machine needs only for waking up at this rate."""
    with subprocess.Popen([sys.executable, "-c", SLEEPER.format(rate=rate_hz)]) as sleeper:
        time.sleep(0.5)
        begin, cpu = time.perf_counter(), cpu_seconds(sleeper.pid)
        time.sleep(1.5)
        share = (cpu_seconds(sleeper.pid) - cpu) / (time.perf_counter() - begin)
        sleeper.kill()
    return share


def impossible(stacks: Counter[Stack]) -> float:
    """The share of samples with an impossible stack. A stack without Python frames is not impossible."""
    wrong = total = 0
    for stack, count in stacks.items():
        functions = [function for function, _ in stack]
        if "<module>" not in functions and "main" not in functions and len(stack) <= 1:
            continue
        total += count
        try:
            wrong += count if illegal_sample(stack, ROOT) else 0
        except KeyError:  # a frame that is none of the program's
            wrong += count
    return wrong / total if total else 0.0


def lines(rows: dict[str, dict[str, float] | str]) -> Iterator[str]:
    own = rows["pystack"]
    yield (
        f"{'':22} {'rate':>10} {'ratio':>7} {'CPU':>7} {'ratio':>6} {'us/sample':>10}"
        f" {'slowdown':>9} {'impossible':>11} {'lost':>7}"
    )
    for name, row in rows.items():
        if isinstance(row, str):
            yield f"{name:22} {row}"
            continue

        def ratio(key: str, row: dict[str, float] = row) -> str:
            if isinstance(own, str) or not own[key]:
                return "-"
            return f"{row[key] / own[key]:.3g}x"

        def share(key: str, row: dict[str, float] = row) -> str:
            return f"{100 * row[key]:.3g} %" if key in row else "-"

        yield (
            f"{name:22} {row['rate']:>8.0f}/s {ratio('rate'):>7} {share('cpu'):>7} {ratio('cpu'):>6}"
            f" {row['us']:>10.1f} {share('slowdown'):>9} {share('impossible'):>11} {share('lost'):>7}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--work", action="append", help="measure only work whose name contains this"
    )
    parser.add_argument("--tool", action="append", help="measure only these tools and pystack")
    parser.add_argument(
        "interpreters",
        nargs="*",
        default=["3.8-pyenv", "3.11-pyenv", "3.13-pyenv", "3.15-debian-sid"],
    )
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for interpreter in available():
        if interpreter.name not in options.interpreters:
            continue
        for work in WORKS:
            if options.work and not any(part in work.name for part in options.work):
                continue
            print(f"\n{interpreter.name}: {work.name}; {options.seconds:g} s; {conditions()}")
            rows: dict[str, dict[str, float] | str] = {}
            for recorder in NATIVE_RECORDERS if work.native else RECORDERS:
                name = recorder.name
                wanted = not options.tool or name in options.tool or recorder is PYSTACK
                if wanted and recorder.suits(interpreter):
                    rows[name] = measure(recorder, interpreter, work, options.seconds)
            print(*lines(rows), sep="\n", flush=True)
            if work.rate_hz <= MOST_SLEEPING_HZ:
                print(
                    f"a loop that only sleeps takes {100 * floor_of(work.rate_hz):.2g} % of a core on this machine"
                )
            results.setdefault(interpreter.name, {})[work.name] = rows
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
