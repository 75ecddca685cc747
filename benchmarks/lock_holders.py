#!/usr/bin/env python3
"""Dumps a program whose threads take and release locks as fast as they can, and counts false holders.

Each dump with a stop, which also reads what the holders write down themselves, is followed by one
without. No circle is possible in the program.

    python benchmarks/lock_holders.py [--dumps 10000] [INTERPRETER ...]

Exits with status 1 if a holder or a circle was false, or if no holder was ever named.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions

from interpreters import available
from lock_truth import LockTruth
from process_state import wait_until
from targets import PROGRAMS, Interpreter


def try_one(interpreter: Interpreter, dumps: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "facts.json"
        program = [str(PROGRAMS / "lock_traffic.py"), str(facts)]
        with interpreter.spawn(program, stdin=subprocess.DEVNULL) as target:
            wait_until(facts.exists, "facts")
            truth = LockTruth(json.loads(facts.read_text())["locks"])
            begin = time.monotonic()
            for _ in range(dumps):
                truth.check(target.pid)
    print(
        f"{interpreter.name:22} {dumps:>7,} dumps of each kind in {time.monotonic() - begin:.0f} s,"
        f" {truth.named:>7,} holders named, {len(truth.wrong)} false",
        flush=True,
    )
    for text in truth.wrong[:5]:
        print(f"    {text[:400]}", flush=True)
    return not truth.wrong and truth.named > 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dumps", type=int, default=10_000)
    parser.add_argument("interpreters", nargs="*", metavar="INTERPRETER")
    arguments = parser.parse_args()
    print(conditions())
    good = True
    for interpreter in available():
        if not arguments.interpreters or interpreter.name in arguments.interpreters:
            good &= try_one(interpreter, arguments.dumps)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
