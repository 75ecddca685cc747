#!/usr/bin/env python3
"""How much of a recording is missing from its file if the recorder is killed at a random moment.

Each round records a busy program into a `.pystack` file, kills the recorder with SIGKILL, and compares the moment with
the last sample in the file, which has to open. The folder should be one that nobody else can write to: else the file
grows in a folder of its own, where it stays.

    python benchmarks/killed_recorders.py [--rounds 60] [--rate 100] [--folder .]
"""

from __future__ import annotations

import argparse
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions

from process_state import wait_until

BUSY = "while True: sum(range(1000))"
LONGEST_S = 2.0


def last_sample_s(path: Path) -> float | None:
    """In Unix time; None if there is none yet. Raises sqlite3.Error if the file cannot be read."""
    with closing(sqlite3.connect(path, timeout=0.1)) as database:  # It may have to be rolled back.
        begin = "SELECT value FROM metadata WHERE name = 'start_time_ns'"
        (begin_ns,) = database.execute(begin).fetchone()
        (end_ns,) = database.execute("SELECT max(end_ns) FROM sample").fetchone()
    return None if end_ns is None else (int(begin_ns) + end_ns) / 1e9


def has_samples(path: Path) -> bool:
    try:
        return path.exists() and last_sample_s(path) is not None
    except (sqlite3.Error, TypeError):
        return False


def missing_s(target: int, rate_hz: float, path: Path) -> float:
    command = [sys.executable, "-m", "pystack", "record", "-r", str(rate_hz), "-o", str(path)]
    said = path.with_suffix(".stderr")
    with (
        said.open("w") as errors,
        subprocess.Popen([*command, str(target)], stderr=errors) as recorder,
    ):
        try:
            wait_until(lambda: has_samples(path), "samples in the file")
        except TimeoutError as error:
            recorder.kill()
            raise RuntimeError(f"{recorder.poll()}: {said.read_text()}") from error
        time.sleep(random.uniform(0, LONGEST_S))
        killed_s = time.time()
        recorder.send_signal(signal.SIGKILL)
    last_s = last_sample_s(path)
    assert last_s is not None
    return killed_s - last_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    options = parser.parse_args()
    print(conditions())
    missing = []
    with subprocess.Popen([sys.executable, "-c", BUSY]) as target:
        try:
            for number in range(options.rounds):
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    path = Path(folder, f"{number}.pystack")
                    missing.append(missing_s(target.pid, options.rate, path))
        finally:
            target.kill()
    missing.sort()
    print(
        f"{len(missing)} of {options.rounds} files opened; missing: median {statistics.median(missing):.2f} s,"
        f" 95 % within {missing[int(0.95 * len(missing))]:.2f} s, at most {missing[-1]:.2f} s"
    )


if __name__ == "__main__":
    main()
