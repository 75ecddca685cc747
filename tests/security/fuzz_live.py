"""Reads a process that rewrites itself: fuzz_live.py --seconds 600 [--interpreter NAME] [--seed 1]

Its frames, code objects, types, dicts, values, lists of threads, offsets and native stacks change
at full speed, while the commands read it with all of their options, one after the other. Who
rewrites is this process, through the memory file of the target, as another process that shares its
memory would: so it changes while the target is stopped, too.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from interpreters import available, by_name
from process_state import run_state, thread_ids
from security.raw_text import raw_characters
from security.structures import Change, Damage, Structures, structured_target
from targets import Interpreter
from tool_runs import TOOL, TOOL_FOLDER

NAMES = ("3.8-pyenv", "3.11-debian", "3.13-pyenv", "3.14-debian-sid", "3.15-debian-sid")
DAMAGES = 2000
# How long a damage stays: not at all, or so long that all of a reading meets it.
HOLDS_S = (0.0, 0.0, 0.0, 0.0001, 0.001, 0.02, 0.3)
MAX_EXTRA_S = 5.0
MAX_MEMORY_BYTES = 500 << 20
# So that what breaks the limit does not take the machine with it.
MAX_ADDRESS_SPACE_BYTES = 8 << 30
RECORD_S = 1.0
RECORD_SHARE = 0.25
# Read; failed with a sentence; not (any more) a Python.
DOCUMENTED_STATUSES = (0, 1, 3)
TARGET_S = 20.0


class Run(NamedTuple):
    interpreter: str
    arguments: list[str]
    status: int
    seconds: float
    memory: int
    failure: str | None


class Rewriter(threading.Thread):
    """Writes one damage after the other into the process, and takes each back."""

    def __init__(self, pid: int, structures: Structures, seed: int) -> None:
        super().__init__(daemon=True)
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
        damage = Damage(structures, self._read)
        self._numbers = random.Random(seed)
        self._damages: list[tuple[list[Change], list[Change]]] = []
        for _ in range(DAMAGES):
            changes = damage.draw(self._numbers)
            original = [
                (address, self._read(address, len(content))) for address, content in changes
            ]
            self._damages.append((changes, original))
        self._write(damage.arena_content)
        self._ends = threading.Event()
        self.written = 0

    def run(self) -> None:
        with contextlib.suppress(OSError):  # The target was killed.
            while not self._ends.is_set():
                changes, original = self._numbers.choice(self._damages)
                self._write(changes)
                hold_s = self._numbers.choice(HOLDS_S)
                if hold_s > 0:
                    time.sleep(hold_s)
                self._write(original)
                self.written += len(changes)

    def end(self) -> None:
        self._ends.set()
        self.join()
        os.close(self._memory)

    def _read(self, address: int, size: int) -> bytes:
        return os.pread(self._memory, size, address)

    def _write(self, changes: list[Change]) -> None:
        for address, content in changes:
            os.pwrite(self._memory, content, address)


@contextlib.contextmanager
def rewritten_target(
    interpreter: Interpreter, folder: Path, seed: int
) -> Iterator[tuple[int, Rewriter]]:
    with structured_target(interpreter, folder) as (target, structures):
        rewriter = Rewriter(target.pid, structures, seed)
        rewriter.start()
        try:
            yield target.pid, rewriter
        finally:
            rewriter.end()


def draw_arguments(numbers: random.Random, pid: int, output: Path) -> tuple[list[str], float]:
    """A command, and for how long it is asked to run."""

    def some(*options: str) -> list[str]:
        return [option for option in options if numbers.random() < 0.4]

    native = numbers.choice(["", "", "--native", "--native-all", "--native-last"])
    verbose = numbers.choice(["", "", "-v", "-vv"])
    if numbers.random() < RECORD_SHARE:
        arguments = [
            "record",
            str(pid),
            "-d",
            str(RECORD_S),
            *some("--subprocesses", "--exhaustive"),
        ]
        arguments += ["-r", numbers.choice(["100", "1000", "10000"])]
        arguments += ["-f", numbers.choice(["html", "folded", "speedscope"]), "-o", str(output)]
        arguments += some("--lines", "--threads")
        if not native:
            arguments += some("--block")
        asked_s = RECORD_S
    else:
        arguments = ["dump", str(pid), *some("--json", "--exhaustive", "--no-group", "--full")]
        more = some("--locals")
        if not more and not native:
            more = some("--no-block")
        arguments += more
        asked_s = 0.0
    return [*arguments, *filter(None, (native, verbose))], asked_s


def run_one(interpreter: Interpreter, pid: int, arguments: list[str], asked_s: float) -> Run:
    """Runs the command with limits; the failure is one that this tool may not have."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        process = subprocess.Popen(
            [*TOOL, *arguments],
            cwd=TOOL_FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=limit_address_space,
        )
        hung = threading.Timer(asked_s + 4 * MAX_EXTRA_S, process.kill)
        hung.start()
        _, wait_status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        hung.cancel()
        process.returncode = os.waitstatus_to_exitcode(wait_status)
        output.seek(0)
        text = output.read().decode(errors="surrogateescape")
    memory = usage.ru_maxrss * 1024
    failure = None
    if process.returncode not in DOCUMENTED_STATUSES:
        failure = f"status {process.returncode}: {text[-1000:]}"
    # With -vv it is asked for.
    elif "Traceback (" in text and "-vv" not in arguments:
        failure = text[-2000:]
    elif seconds > asked_s + MAX_EXTRA_S:
        failure = f"took {seconds:.1f} s"
    elif memory > MAX_MEMORY_BYTES:
        failure = f"took {memory >> 20} MiB"
    else:
        raw = next((line for line in text.split("\n") if raw_characters(line)), None)
        if raw is not None:
            failure = f"raw text: {raw[:200]!r}"
    failure = failure or harm(pid)
    return Run(interpreter.name, arguments, process.returncode, seconds, memory, failure)


def harm(pid: int) -> str | None:
    """What the tool did to the target, if anything."""
    states = {tid: run_state(pid, tid) for tid in thread_ids(pid)}
    if not states or "Z" in states.values():
        return "the target is dead"
    stopped = [tid for tid, state in states.items() if state in "Tt"]
    return f"threads {stopped} were left stopped" if stopped else None


def limit_address_space() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fuzz(interpreter: Interpreter, seconds: float, seed: int, folder: Path) -> Iterator[Run]:
    """Runs commands until the time is over, with a new target now and then."""
    numbers = random.Random(seed)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        target_deadline = min(deadline, time.monotonic() + TARGET_S)
        with rewritten_target(interpreter, folder, numbers.getrandbits(32)) as (pid, _):
            while time.monotonic() < target_deadline:
                arguments, asked_s = draw_arguments(numbers, pid, folder / "recorded")
                run = run_one(interpreter, pid, arguments, asked_s)
                yield run
                if run_state(pid) == "":
                    break


def chosen_interpreters() -> list[Interpreter]:
    """Those of NAMES that are here."""
    return [one for one in available() if one.name in NAMES]


def summary(runs: Sequence[Run]) -> str:
    dumps = [run for run in runs if run.arguments[0] == "dump"]
    statuses = collections.Counter(run.status for run in runs)
    return (
        f"{len(dumps)} dumps, {len(runs) - len(dumps)} recordings, statuses {dict(statuses)};"
        f" longest dump {max((run.seconds for run in dumps), default=0):.2f} s,"
        f" longest of all {max((run.seconds for run in runs), default=0):.2f} s,"
        f" most memory {max((run.memory for run in runs), default=0) >> 20} MiB;"
        f" {sum(run.failure is not None for run in runs)} failures"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interpreter", action="append", default=[])
    options = parser.parse_args(arguments)
    chosen = [by_name(name) for name in options.interpreter] or chosen_interpreters()
    failed = False
    for interpreter in chosen:
        runs = []
        with tempfile.TemporaryDirectory() as folder:
            for run in fuzz(interpreter, options.seconds / len(chosen), options.seed, Path(folder)):
                runs.append(run)
                if run.failure is not None:
                    print(f"  {interpreter}, {' '.join(run.arguments)}: {run.failure}", flush=True)
        print(f"{interpreter}: {summary(runs)}", flush=True)
        failed |= any(run.failure is not None for run in runs)
    return int(failed)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
