#!/usr/bin/env python3
"""Recordings of a process and its children at 100 Hz, side by side with the peers: whether the costs add up.

The children are at a depth of 30 frames; two of them compute, the others wait. Asked is, by number of children:

- CPU: of one core, by the tool, while it samples (start and end do not count), and what that is for each process.
- rate: samples of each child a second.

    python benchmarks/process_tree.py [--seconds 5] [--json FILE] [INTERPRETER ...]

PyStack does not sample, and `profiling.sampling` follows only children that are forked by a program that it started.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import austin, clean_environment, conditions, own_command, own_environment, peer
from recording import cpu_seconds, run

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


@dataclass(frozen=True)
class Tool:
    name: str
    start: Callable[[int, float, Path], subprocess.Popen[bytes]]
    samples: Callable[[Path], float]  # of all processes, from the tool's file


def start_own(pid: int, seconds: float, file: Path) -> subprocess.Popen[bytes]:
    options = ["--subprocesses", "-f", "speedscope", "-r", str(RATE_HZ), "-d", str(seconds)]
    return run([*own_command(), "record", *options, "-o", str(file), str(pid)], own_environment())


def start_py_spy(pid: int, seconds: float, file: Path) -> subprocess.Popen[bytes]:
    options = ["--subprocesses", "--nonblocking", "--idle", "-f", "raw", "-r", str(RATE_HZ)]
    command = [str(peer("py-spy")), "record", *options, "-d", str(round(seconds)), "-o", str(file)]
    return run([*command, "-p", str(pid)], clean_environment())


def start_austin(pid: int, seconds: float, file: Path) -> subprocess.Popen[bytes]:
    options = ["-C", "-i", f"{1_000_000 // RATE_HZ}us", "-x", str(round(seconds)), "-o", str(file)]
    return run([*austin().command, *options, "-p", str(pid)], clean_environment())


def own_samples(file: Path) -> float:
    return float(json.loads(file.read_text())["pystack"]["counts"]["taken"])


def py_spy_samples(file: Path) -> float:
    counts = re.findall(r" (\d+)$", file.read_text(errors="replace"), re.MULTILINE)
    return float(sum(map(int, counts)))


def austin_samples(file: Path) -> float:
    text_file = file.with_suffix(".txt")
    subprocess.run([austin().converter, file, text_file], check=True, capture_output=True)
    lines = text_file.read_text(errors="replace").splitlines()
    return float(sum(1 for line in lines if ";" in line and not line.startswith("#")))


TOOLS = (
    Tool("pystack", start_own, own_samples),
    Tool("py-spy --nonblocking", start_py_spy, py_spy_samples),
    Tool("austin", start_austin, austin_samples),
)


def measure(
    tool: Tool, interpreter: Interpreter, children: int, seconds: float
) -> dict[str, float] | str:
    """CPU in shares of a core and samples of each process a second, or why there are none."""
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
            process = tool.start(target.pid, seconds + settling_s + 1, file)
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
        samples = tool.samples(file)
    processes = children + 1
    return {
        "cpu": cpu,
        "cpu_of_each": cpu / processes,
        "rate": samples / processes / (seconds + settling_s + 1),
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
            print(f"{'':22} {'CPU':>8} {'of each':>9} {'rate of each':>13}")
            for tool in TOOLS:
                row = measure(tool, interpreter, children, options.seconds)
                results.setdefault(interpreter.name, {}).setdefault(str(children), {})[
                    tool.name
                ] = row
                if isinstance(row, str):
                    print(f"{tool.name:22} {row}")
                    continue
                cpu, each = 100 * row["cpu"], 100 * row["cpu_of_each"]
                print(f"{tool.name:22} {cpu:>6.2f} % {each:>7.2f} % {row['rate']:>11.1f}/s")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
