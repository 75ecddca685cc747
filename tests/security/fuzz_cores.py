"""Reads thousands of damaged cores: fuzz_cores.py --count 2000 --seed 1 [--keep FOLDER]

What crashes, hangs, or uses too much memory is told, with the command that shows it again: the
damaged core is kept in FOLDER, and only there, since no two cores of a program are the same.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core_files import kernel_core, limits
from interpreters import available, by_name
from security.read_mutated import command_options
from security.structures import structured_target
from targets import Interpreter

WORKER = Path(__file__).parent / "read_mutated.py"
TESTS = Path(__file__).resolve().parents[1]
NAMES = ("3.8-pyenv", "3.11-debian", "3.13-pyenv", "3.14-debian-sid", "3.15-debian-sid")
COMMAND_EVERY = 40


class Failure(NamedTuple):
    interpreter: str
    number: int
    what: str
    repeat: str


class Outcome(NamedTuple):
    failures: list[Failure]
    readings: list[dict[str, Any]]

    def summary(self) -> str:
        kinds = collections.Counter(each["error"] or "read" for each in self.readings)
        return (
            f"{len(self.readings)} readings: {dict(kinds.most_common())};"
            f" longest {max((each['s'] for each in self.readings), default=0):.2f} s,"
            f" most memory {max((each['memory'] for each in self.readings), default=0) >> 20} MiB;"
            f" {len(self.failures)} failures"
        )


def chosen_interpreters() -> list[Interpreter]:
    """Those of NAMES that are here."""
    return [one for one in available() if one.name in NAMES]


def fuzz(
    interpreter: Interpreter, count: int, seed: int, folder: Path, keep: Path | None
) -> Outcome:
    """Reads `count` damaged copies of one core; `folder` is for scratch."""
    with structured_target(interpreter, folder, preexec_fn=limits) as (target, structures):
        told = folder / "structures-all.json"
        told.write_text(json.dumps({"regions": structures.regions, "arena": structures.arena}))
        core = kernel_core(target.pid, folder, signal.SIGABRT)
    failures: list[Failure] = []
    readings: list[dict[str, Any]] = []
    copy = folder / "damaged"
    number = 0
    while number < count:
        done = read_many(interpreter, core, told, copy, seed, number, count - number)
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        results = [json.loads(result) for _, _, result in lines if result]
        readings += results
        number += len(results)
        if done.returncode == 0:
            break
        what = done.stderr.strip().splitlines()[-1:] or ["no words"]
        failures.append(
            Failure(
                interpreter.name,
                number,
                f"status {done.returncode}: {what[0][:300]}",
                repeat(copy, interpreter, number, keep),
            )
        )
        number += 1
    core.unlink()
    copy.unlink(missing_ok=True)
    return Outcome(failures, readings)


def read_many(
    interpreter: Interpreter, core: Path, told: Path, copy: Path, seed: int, first: int, count: int
) -> subprocess.CompletedProcess[str]:
    arguments = [core, told, copy, interpreter.root or "-", seed, first, count, COMMAND_EVERY]
    return subprocess.run(
        [sys.executable, str(WORKER), *map(str, arguments)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        # The package is the installed one, not the checkout's.
        cwd=tempfile.gettempdir(),
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )


def repeat(copy: Path, interpreter: Interpreter, number: int, keep: Path | None) -> str:
    """The command that does it again."""
    if keep is None or not copy.exists():
        return "run again with --keep"
    kept = keep / f"{interpreter.name}.{number}.core"
    shutil.copy(copy, kept)
    root = "" if interpreter.root is None else f" --lib-search-root {interpreter.root}"
    return f"pystack core {kept}{root} {' '.join(command_options(number))}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interpreter", action="append", default=[])
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args(arguments)
    chosen = [by_name(name) for name in options.interpreter] or chosen_interpreters()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    failed = 0
    for interpreter in chosen:
        with tempfile.TemporaryDirectory() as folder:
            count = -(-options.count // len(chosen))
            outcome = fuzz(interpreter, count, options.seed, Path(folder), options.keep)
        print(f"{interpreter}: {outcome.summary()}", flush=True)
        for failure in outcome.failures:
            print(f"  {failure.number}: {failure.what}\n    {failure.repeat}", flush=True)
        failed += len(outcome.failures)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
