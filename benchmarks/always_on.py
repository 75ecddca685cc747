"""A day of 8 busy threads at 100 Hz, recorded faster than time: memory, files and losses.

    python benchmarks/always_on.py --hours 24 --every 60 --folder /tmp/day

A sampler without a process gives samples as the real one does. All else is what `pystack record --every`
runs. Each second has new stacks, and no two neighbouring samples are equal, so nothing can be merged.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pystack.sampling import SampleState
from pystack_profiler import exporters
from pystack_profiler.counts import no_stats
from pystack_profiler.destination import Destination
from pystack_profiler.driver import OneProcess, new_recording, record_targets
from pystack_profiler.file_series import FileSeries
from pystack_profiler.process_recorder import ProcessRecorder
from pystack_profiler.recording_file import load
from pystack_profiler.settings import Settings
from pystack_profiler.view import DEFAULT_VIEW

THREADS, RATE_HZ, DEPTH = 8, 100, 30
INTERVAL_NS = 1_000_000_000 // RATE_HZ
NEW_STACKS = 40  # per second, each of DEPTH frames of which the last 5 are its own
BUSY = SampleState.ON_CPU | SampleState.CPU_KNOWN
_EMPTY = ("late_cpu", "wait_kind", "wait_type", "wait_name", "wait_holder")


class DaySampler:
    """Gives a second of samples per batch, until the day is over."""

    python_version = "3.13.5"
    other_interpreters = ()
    error = None

    def __init__(self, seconds: int) -> None:
        self.end_reason: Any = "running"
        self.taken = 0
        self._seconds_left = seconds
        self._begin_ns = self._time_ns = time.monotonic_ns()
        self._chance = random.Random(3)
        self._asks_for_tables = False
        self._begin_tables()

    def now_s(self) -> float:
        return (self._time_ns - self._begin_ns) / 1e9

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def set_max_cpu_share(self, share: float) -> None: ...

    def renew_tables(self) -> None:
        self._asks_for_tables = True

    def next_batch(self, timeout_s: float) -> Any:
        batch = self._empty_batch()
        if self._asks_for_tables:
            self._asks_for_tables, batch.ends_tables = False, True
            self._begin_tables()
        elif self._seconds_left == 0:
            self.end_reason, batch.finished = "target_exited", True
        else:
            self._seconds_left -= 1
            self._fill(batch)
        return batch

    def _begin_tables(self) -> None:
        self._strings = self._frames = 0
        self._stacks = 1
        self._bases: list[int] = []
        self._is_new = True

    def _empty_batch(self) -> Any:
        batch = SimpleNamespace(finished=False, ends_tables=False, stats=no_stats(), threads=[])
        for name in _EMPTY:
            setattr(batch, name, ())
        for name in ("time_ns", "weight_ns", "cpu_ns", "runnable_ns", "frame_address"):
            setattr(batch, name, array("Q"))
        for name in ("count", "thread", "stack", "wait", "state", "stack_parent", "stack_frame"):
            setattr(batch, name, array("I"))
        for name in ("function", "file", "module", "build_id"):
            setattr(batch, f"frame_{name}", array("I"))
        for name in ("kind", "inline_depth", "name_source"):
            setattr(batch, f"frame_{name}", array("B"))
        batch.frame_line, batch.frame_first_line = array("i"), array("i")
        batch.strings = []
        return batch

    def _fill(self, batch: Any) -> None:
        if self._is_new:
            self._is_new = False
            batch.strings += ["", "/srv/app.py"]
            self._strings = 2
            batch.stack_parent.append(0)
            batch.stack_frame.append(0)
            batch.threads = [(n, 1, 1 + n, 0, f"worker-{n}", False) for n in range(THREADS)]
            self._bases = [self._push_all(batch, 0, DEPTH - 5, f"base{n}") for n in range(4)]
        second = self._seconds_left
        stacks = [
            self._push_all(batch, self._bases[n % 4], 5, f"work{second}_{n}")
            for n in range(NEW_STACKS)
        ]
        for tick in range(RATE_HZ):
            self._time_ns += INTERVAL_NS
            for thread in range(THREADS):
                batch.time_ns.append(self._time_ns)
                batch.thread.append(thread)
                batch.stack.append(stacks[(tick + thread * 5) % NEW_STACKS])
        rows = RATE_HZ * THREADS
        batch.weight_ns.extend([INTERVAL_NS] * rows)
        batch.cpu_ns.extend([INTERVAL_NS] * rows)
        batch.runnable_ns.extend([0] * rows)
        batch.count.extend([1] * rows)
        batch.state.extend([BUSY] * rows)
        batch.wait.extend([0] * rows)
        self.taken += rows
        batch.stats.update(
            ticks=RATE_HZ, attempted=rows, taken=rows, elapsed_ns=RATE_HZ * INTERVAL_NS
        )

    def _push_all(self, batch: Any, stack: int, depth: int, name: str) -> int:
        for level in range(depth):
            batch.strings.append(f"{name}_{level}")
            batch.frame_function.append(self._strings)
            self._strings += 1
            batch.frame_file.append(1)
            batch.frame_address.append(0)
            for column in ("kind", "module", "build_id", "inline_depth", "name_source"):
                getattr(batch, f"frame_{column}").append(0)
            batch.frame_line.append(level)
            batch.frame_first_line.append(level)
            batch.stack_parent.append(stack)
            batch.stack_frame.append(self._frames)
            self._frames += 1
            stack = self._stacks
            self._stacks += 1
        return stack


def peak_mib() -> float:
    # Not ru_maxrss: that remembers the process that forked this one.
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--every", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--max-files", type=int)
    parser.add_argument("--folder", help="for the files; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(record_day(Path(folder), options), indent=2))


def record_day(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    sampler = DaySampler(round(options.hours * 3600))
    recording = new_recording(os.getpid(), Settings())
    destination = Destination(
        str(folder / "prof-%t.pystack"), exporters.PYSTACK, DEFAULT_VIEW, verbosity=0
    )
    series = FileSeries(
        destination, options.every, options.max_files, say=lambda _: None, clock=sampler.now_s
    )
    begin_s = time.monotonic()
    with series.growing(recording) as log:
        record_targets(
            OneProcess(ProcessRecorder(sampler, os.getpid())), recording, log=log, rotation=series
        )
        status = series.save(recording)
    peak = peak_mib()  # before the files are read again
    took_s = time.monotonic() - begin_s
    files = sorted(folder.glob("prof-*.pystack"))
    size = sum(file.stat().st_size for file in files)
    in_files = weight_ns = 0
    for file in files:
        loaded = load(str(file))
        in_files += loaded.sample_count
        weight_ns += sum(run.weight_ns for _, track in loaded.tracks() for run in track.runs())
    return {
        "samples": sampler.taken,
        "samples_in_files": in_files,
        "weight_missing_ns": sampler.taken * INTERVAL_NS - weight_ns,
        "files": len(files),
        "mib_of_files": round(size / 2**20, 1),
        "peak_mib": round(peak, 1),
        "exit_status": status,
        "seconds": round(took_s, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
