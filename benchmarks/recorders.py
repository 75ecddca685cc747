"""The recorders that are compared: their command lines, and how to read their files."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peers import austin, clean_environment, own_command, own_environment, peer

from targets import Interpreter

Stack = tuple[tuple[str, int | None], ...]  # (function, line), outermost first


@dataclass(frozen=True)
class Order:
    """The target of a recording."""

    interpreter: Interpreter  # of the target
    pid: int
    rate_hz: int
    seconds: float
    file: Path
    native: bool = False
    subprocesses: bool = False

    @property
    def whole_seconds(self) -> str:
        return str(max(1, round(self.seconds)))


@dataclass
class Outcome:
    """The results in a tool's own file. `samples`: of all threads, without lost ones."""

    stacks: Counter[Stack]
    samples: int
    lost: float | None = None  # share of the attempts


@dataclass(frozen=True)
class Recorder:
    name: str
    start: Callable[[Order], subprocess.Popen[bytes]]
    read: Callable[[Path], Outcome]
    suits: Callable[[Interpreter], bool] = lambda _: True


def start_own(order: Order) -> subprocess.Popen[bytes]:
    options = ["--lines", "-f", "speedscope", "-r", str(order.rate_hz), "-d", str(order.seconds)]
    options += ["--native"] * order.native + ["--subprocesses"] * order.subprocesses
    command = [*own_command(), "record", *options, "-o", str(order.file), str(order.pid)]
    return run(command, own_environment())


def read_own(file: Path) -> Outcome:
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
    return Outcome(stacks, counts["taken"], 1 - counts["taken"] / max(1, counts["attempted"]))


def start_py_spy(order: Order, *, stops: bool) -> subprocess.Popen[bytes]:
    options = ["-f", "raw", "--idle", "-r", str(order.rate_hz), "-d", order.whole_seconds]
    options += ["--nonblocking"] * (not stops) + ["--native"] * order.native
    options += ["--subprocesses"] * order.subprocesses
    command = [str(peer("py-spy")), "record", *options, "-o", str(order.file)]
    return run([*command, "-p", str(order.pid)], clean_environment())


def read_py_spy(file: Path) -> Outcome:
    return read_collapsed(file, py_spy_frame)


def py_spy_frame(text: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(.*) \(.*?(?::(\d+))?\)", text)
    if found is None:
        return text, None
    return found[1], int(found[2]) if found[2] else None


def start_austin(order: Order) -> subprocess.Popen[bytes]:
    options = ["-i", f"{max(1, 1_000_000 // order.rate_hz)}us", "-x", order.whole_seconds]
    options += ["-C"] * order.subprocesses
    command = [*austin().command, *options, "-o", str(order.file), "-p", str(order.pid)]
    return run(command, clean_environment())


def read_austin(file: Path) -> Outcome:
    """A line is a sample with the time since the last one; the errors are reported at the end."""
    text_file = file.with_suffix(".txt")
    subprocess.run([austin().converter, file, text_file], check=True, capture_output=True)
    stacks: Counter[Stack] = Counter()
    lost = None
    for line in text_file.read_text(errors="replace").splitlines():
        if errors := re.match(r"# errors: (\d+)/(\d+)", line):
            lost = int(errors[1]) / max(1, int(errors[2]))
        if line.startswith("#") or ";" not in line:
            continue
        stack = []
        for frame in line.rpartition(" ")[0].split(";")[2:]:
            _, function, number = frame.rsplit(":", 2)
            stack.append((function, int(number) if number.isdigit() else None))
        stacks[tuple(stack)] += 1
    return Outcome(stacks, stacks.total(), lost)


def start_tachyon(order: Order) -> subprocess.Popen[bytes]:
    options = ["--all-threads", "-r", str(order.rate_hz), "-d", order.whole_seconds]
    python = str(order.interpreter.executable)
    command = [python, "-m", "profiling.sampling", "attach", *options]
    if order.interpreter.root is not None:
        # It looks for the target's files by the paths of its own root.
        target = ["--target", str(order.pid), "--mount", "--root", "--wd=/"]
        command = ["nsenter", *target, *command]
    return run(
        [*command, "--collapsed", "-o", str(order.file), str(order.pid)], clean_environment()
    )


def read_tachyon(file: Path) -> Outcome:
    return read_collapsed(file, tachyon_frame)


def tachyon_frame(text: str) -> tuple[str, int | None]:
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[2].lstrip("-").isdigit():
        return text, None
    return parts[1].rsplit(".", 1)[-1], int(parts[2])


def read_collapsed(file: Path, frame: Callable[[str], tuple[str, int | None]]) -> Outcome:
    stacks: Counter[Stack] = Counter()
    for line in file.read_text(errors="replace").splitlines():
        text, _, count = line.rpartition(" ")
        if not text or line.startswith("#") or not count.isdigit():
            continue
        stacks[tuple(frame(part) for part in text.split(";"))] += int(count)
    return Outcome(stacks, stacks.total())


def run(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def cpu_seconds(pid: int) -> float:
    """The CPU time of all threads of a process so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # the thread ended
    return total / 1e9


PYSTACK = Recorder("pystack", start_own, read_own)
PY_SPY = Recorder(
    "py-spy --nonblocking", lambda order: start_py_spy(order, stops=False), read_py_spy
)
PY_SPY_STOPPING = Recorder(
    "py-spy (stops)", lambda order: start_py_spy(order, stops=True), read_py_spy
)
AUSTIN = Recorder("austin", start_austin, read_austin)
TACHYON = Recorder(
    "profiling.sampling",
    start_tachyon,
    read_tachyon,
    lambda interpreter: interpreter.version[:2] == (3, 15) and not interpreter.debug,
)
