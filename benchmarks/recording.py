#!/usr/bin/env python3
"""Recordings that do not stop the target, side by side with the peers.

For each interpreter and each kind of work, every tool records the same running target in turn. Asked is:

- rate: samples taken a second, of what was asked for. A sample is one look at all threads.
- CPU: of one core, by the tool, while it samples (start and end do not count).
- slowdown: how much less the target gets done than just before and after. Noisy unless the machine is idle.
- impossible: samples whose stack the program cannot have, of all; only asked of the program of pure calls,
  whose legal stacks follow from its text. lost: attempts that gave no sample, as far as the tool says so.

    python benchmarks/recording.py [--seconds 5] [--json FILE] [--work NAME] [INTERPRETER ...]

`profiling.sampling` is part of 3.15 and reads 3.15 only, so it is run where the target is one. PyStack does not
sample. A peer that cannot run here is left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import mmap
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import austin, clean_environment, conditions, own_command, own_environment, peer

from call_graph import call_graph, illegal
from interpreters import available
from targets import PROGRAMS, Interpreter

FOLDER = Path(__file__).parent
CALLS = PROGRAMS / "calls.py"
ROOT = "chains"
MOST_SLEEPING_HZ = 10_000  # Beyond it nobody sleeps.

Stack = tuple[tuple[str, int | None], ...]  # (function, line), outermost first


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


@dataclass
class Outcome:
    """What a tool's own file says. `samples`: looks at the target, lost ones not included."""

    stacks: Counter[Stack]
    samples: float
    lost: float | None = None  # share of the attempts


@dataclass(frozen=True)
class Tool:
    name: str
    start: Callable[[Interpreter, int, Work, float, Path], subprocess.Popen[bytes]]
    read: Callable[[Path, Work], Outcome]
    suits: Callable[[Interpreter], bool] = lambda _: True


def run(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


# -- the tools --


def start_own(
    _: Interpreter, pid: int, work: Work, seconds: float, file: Path
) -> subprocess.Popen[bytes]:
    options = ["--lines", "-f", "speedscope", "-r", str(work.rate_hz), "-d", str(seconds)]
    if work.native:
        options.append("--native")
    return run([*own_command(), "record", *options, "-o", str(file), str(pid)], own_environment())


def read_own(file: Path, _: Work) -> Outcome:
    document = json.loads(file.read_text())
    frames = [
        (re.sub(r" \(.*\)$|:\d+$", "", frame["name"]).rsplit(".", 1)[-1], frame.get("line"))
        for frame in document["shared"]["frames"]
    ]
    counts = document["pystack"]["counts"]
    stacks: Counter[Stack] = Counter()
    for profile in document["profiles"]:
        for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
            stacks[tuple(frames[frame] for frame in stack)] += weight
    per_tick = counts["attempted"] / max(1, counts["ticks"])
    lost = 1 - counts["taken"] / max(1, counts["attempted"])
    return Outcome(stacks, counts["taken"] / max(1, per_tick), lost)


def start_py_spy(*options: str) -> Callable[..., subprocess.Popen[bytes]]:
    def start(
        _: Interpreter, pid: int, work: Work, seconds: float, file: Path
    ) -> subprocess.Popen[bytes]:
        native = ["--native"] if work.native else []
        common = ["-f", "raw", "--idle", "-r", str(work.rate_hz), "-d", str(max(1, round(seconds)))]
        command = [
            str(peer("py-spy")),
            "record",
            *options,
            *native,
            *common,
            "-o",
            str(file),
            "-p",
            str(pid),
        ]
        return run(command, clean_environment())

    return start


def read_collapsed(
    file: Path, work: Work, frame: Callable[[str], tuple[str, int | None]]
) -> Outcome:
    stacks: Counter[Stack] = Counter()
    for line in file.read_text(errors="replace").splitlines():
        text, _, count = line.rpartition(" ")
        if not text or line.startswith("#") or not count.isdigit():
            continue
        stacks[tuple(frame(part) for part in text.split(";"))] += int(count)
    return Outcome(stacks, stacks.total() / work.threads)


def py_spy_frame(text: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(.*) \(.*?(?::(\d+))?\)", text)
    if found is None:
        return text, None
    return found[1], int(found[2]) if found[2] else None


def read_py_spy(file: Path, work: Work) -> Outcome:
    return read_collapsed(file, work, py_spy_frame)


def start_austin(
    _: Interpreter, pid: int, work: Work, seconds: float, file: Path
) -> subprocess.Popen[bytes]:
    interval = f"{max(1, 1_000_000 // work.rate_hz)}us"
    options = ["-i", interval, "-x", str(max(1, round(seconds))), "-o", str(file), "-p", str(pid)]
    return run([*austin().command, *options], clean_environment())


def read_austin(file: Path, work: Work) -> Outcome:
    """A line is a sample, with the time since the last one; the errors are told at the end."""
    text_file = file.with_suffix(".txt")
    subprocess.run([austin().converter, file, text_file], check=True, capture_output=True)
    stacks: Counter[Stack] = Counter()
    lost = None
    for line in text_file.read_text(errors="replace").splitlines():
        if errors := re.match(r"# errors: (\d+)/(\d+)", line):
            lost = int(errors[1]) / max(1, int(errors[2]))
        if line.startswith("#") or ";" not in line:
            continue
        frames = line.rpartition(" ")[0].split(";")[2:]
        stack = []
        for frame in frames:
            _, function, number = frame.rsplit(":", 2)
            stack.append((function, int(number) if number.isdigit() else None))
        stacks[tuple(stack)] += 1
    return Outcome(stacks, stacks.total() / work.threads, lost)


def start_tachyon(
    interpreter: Interpreter, pid: int, work: Work, seconds: float, file: Path
) -> subprocess.Popen[bytes]:
    options = ["--all-threads", "-r", str(work.rate_hz), "-d", str(max(1, round(seconds)))]
    command = [str(interpreter.executable), "-m", "profiling.sampling", "attach", *options]
    if (
        interpreter.root is not None
    ):  # It looks for the target's files by the paths of its own root.
        command = ["nsenter", "--target", str(pid), "--mount", "--root", "--wd=/", *command]
    command += ["--collapsed", "-o", str(file), str(pid)]
    return run(command, clean_environment())


def tachyon_frame(text: str) -> tuple[str, int | None]:
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[2].lstrip("-").isdigit():
        return text, None
    return parts[1].rsplit(".", 1)[-1], int(parts[2])


def read_tachyon(file: Path, work: Work) -> Outcome:
    return read_collapsed(file, work, tachyon_frame)


TOOLS = (
    Tool("pystack", start_own, read_own),
    Tool("py-spy --nonblocking", start_py_spy("--nonblocking"), read_py_spy),
    Tool("py-spy (stops)", start_py_spy(), read_py_spy),
    Tool("austin", start_austin, read_austin),
    Tool(
        "profiling.sampling",
        start_tachyon,
        read_tachyon,
        lambda interpreter: interpreter.version[:2] == (3, 15) and not interpreter.debug,
    ),
)

NATIVE_TOOLS = ("pystack", "py-spy (stops)")  # py-spy must stop the target for it.


# -- the measurements --


class Progress:
    """What the target has done so far."""

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


def cpu_seconds(pid: int) -> float:
    """Of all threads of a process, so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # the thread ended
    return total / 1e9


def spawn(interpreter: Interpreter, work: Work, folder: Path) -> Any:
    if work.depth == 0:
        target = interpreter.spawn(
            [str(CALLS), str(folder / "ready"), ROOT], stdin=subprocess.DEVNULL
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
    tool: Tool, interpreter: Interpreter, work: Work, seconds: float
) -> dict[str, float] | str:
    """Numbers of one tool, or why there are none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        progress = Progress(folder / "count")
        file = folder / "out"
        with spawn(interpreter, work, folder) as target:
            time.sleep(0.5)
            before = progress.per_second(seconds / 2)
            process = tool.start(interpreter, target.pid, work, seconds + 2, file)
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
        outcome = tool.read(file, work)
    rate = outcome.samples / (seconds + 2)
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
    """Of one core, what this machine charges for waking so often and doing nothing."""
    with subprocess.Popen([sys.executable, "-c", SLEEPER.format(rate=rate_hz)]) as sleeper:
        time.sleep(0.5)
        begin, cpu = time.perf_counter(), cpu_seconds(sleeper.pid)
        time.sleep(1.5)
        share = (cpu_seconds(sleeper.pid) - cpu) / (time.perf_counter() - begin)
        sleeper.kill()
    return share


GRAPH = call_graph(CALLS)


def impossible(stacks: Counter[Stack]) -> float:
    """The share of samples whose stack the program cannot have; one without Python is none of them."""
    wrong = total = 0
    for stack, count in stacks.items():
        functions = [function for function, _ in stack]
        if "<module>" not in functions and "main" not in functions and len(stack) <= 1:
            continue
        total += count
        frames = [
            SimpleNamespace(function=name, line=line, end_line=None, column=None, end_column=None)
            for name, line in stack
        ]
        try:
            wrong += count if illegal(GRAPH, frames, ROOT) else 0
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
    parser.add_argument("--work", action="append", help="only those whose name contains this")
    parser.add_argument("--tool", action="append", help="only these, and pystack")
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
            for tool in TOOLS:
                wanted = not options.tool or tool.name in options.tool or tool.name == "pystack"
                if work.native and tool.name not in NATIVE_TOOLS:
                    continue
                if wanted and tool.suits(interpreter):
                    rows[tool.name] = measure(tool, interpreter, work, options.seconds)
            print(*lines(rows), sep="\n", flush=True)
            if work.rate_hz <= MOST_SLEEPING_HZ:
                print(
                    f"a loop that only sleeps: {100 * floor_of(work.rate_hz):.2g} % of a core here"
                )
            results.setdefault(interpreter.name, {})[work.name] = rows
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
