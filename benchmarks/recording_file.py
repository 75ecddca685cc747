#!/usr/bin/env python3
"""What a recording file costs: its size, the CPU time of writing it, and the time to open and to report it.

The first part writes made-up samples at once: stacks of 30 frames, of several numbers of distinct ones, few of them hot, and no two
neighbours equal. The file gets a transaction for each half second of 1 kHz, as while recording. CPU times are those of the
process, so that a busy machine changes them less; `report` is the command, with its start-up.

The second part records a busy program at 1 kHz, with and without a file beside another format, in turns. It compares the CPU time
of the recorder while it recorded, as the recorder says it.

    python benchmarks/recording_file.py [--samples 1000000] [--stacks 1000 10000 100000] [--rounds 5] [--seconds 10] [--folder .]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions
from power_cuts import BUSY

from profiler_fakes import MS, BatchWriter, Frame, profile_of
from pystack.sampling import SampleState
from pystack_profiler.driver import new_recording
from pystack_profiler.recording_file import LiveFile, load
from pystack_profiler.settings import Settings

_DEPTH = 30
_PER_TRANSACTION = 500
_SHORT_S = 3.0
_KNOWN = SampleState.CPU_KNOWN | SampleState.GIL_KNOWN
_STATES = (_KNOWN | SampleState.ON_CPU | SampleState.HOLDS_GIL, _KNOWN)


def write(path: Path, samples: int, stacks: int) -> float:
    """Returns the CPU time of the file's writer."""
    chance = random.Random(1)
    functions = [Frame(f"f{number}", f"/srv/m{number % 50}.py", number) for number in range(2000)]
    begin_ns = 10**15
    recording = new_recording(os.getpid(), Settings())
    recording.began_ns = begin_ns
    profile = profile_of(BatchWriter(), start_ns=begin_ns)
    recording.profiles.append(profile)
    live = LiveFile(str(path), recording)
    writer = BatchWriter()
    thread = writer.thread(os.getpid(), "MainThread")
    frames = [chance.choice(functions) for _ in range(_DEPTH)]
    ids: list[int] = []
    cpu_s = 0.0
    for number in range(1, samples + 1):
        stack: list[Frame] | int
        if len(ids) < stacks and number % max(1, samples // stacks) == 0:
            depth = chance.randint(1, 8)
            frames[-depth:] = [chance.choice(functions) for _ in range(depth)]
            stack = frames
        else:
            stack = ids[int(chance.paretovariate(0.5)) % len(ids)] if ids else frames
        state = _STATES[number % 2]  # neighbours differ
        cpu_ns = MS if state & SampleState.ON_CPU else 0
        id = writer.sample(thread, begin_ns + number * MS, MS, stack, state, cpu_ns=cpu_ns)
        if not isinstance(stack, int):
            ids.append(id)
        if number % _PER_TRANSACTION == 0 or number == samples:
            batch = writer.batch()
            profile.append(batch)
            before_s = time.process_time()
            live.append(profile, batch)
            live._flush_at_s = 0
            live.update(recording)
            cpu_s += time.process_time() - before_s
    recording.ended_ns = begin_ns + samples * MS
    recording.end_reason = profile.process.end_reason = "stopped"
    before_s = time.process_time()
    live.close(recording)
    print(f"  at the end: {time.process_time() - before_s:.2f} s")
    return cpu_s


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU time of a command."""
    before, begin_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall_s, after = time.perf_counter() - begin_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def made_up(folder: Path, samples: int, stacks: int) -> None:
    path = folder / f"{stacks}.pystack"
    print(f"{samples:,} samples of {_DEPTH} frames, {stacks:,} distinct stacks")
    cpu_s = write(path, samples, stacks)
    share = cpu_s / (samples / 1000)
    print(f"  {path.stat().st_size / 1e6:.1f} MB; writing at 1 kHz: {100 * share:.2f} % of a CPU")
    begin_s, cpu_begin_s = time.perf_counter(), time.process_time()
    load(str(path), in_order=False)
    wall_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - cpu_begin_s
    print(f"  open: {wall_s:.2f} s (CPU {cpu_s:.2f} s)")
    times = [timed([sys.executable, "-m", "pystack", "report", str(path)]) for _ in range(3)]
    wall_s, cpu_s = min(times)
    print(f"  report: {wall_s:.2f} s (CPU {cpu_s:.2f} s)", flush=True)


def recorder_cpu_s(folder: Path, target: int, seconds: float, *options: str) -> float:
    """Of the recorder, for each second of recording at 1 kHz: the difference of a long recording and a short one, since
    beginning and ending cost the same in both."""
    output = folder / "x.json"
    costs = []
    for duration_s in (_SHORT_S, _SHORT_S + seconds):
        command = [sys.executable, "-m", "pystack", "record", "-r", "1000", "-d", str(duration_s)]
        command += [*options, "-f", "speedscope", "-o", str(output), str(target)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        facts = json.loads(output.read_bytes())["pystack"]["recording"]
        costs.append((facts["tool_cpu_ns"] / 1e9, facts["duration_ns"] / 1e9))
    (short_cpu_s, short_s), (long_cpu_s, long_s) = costs
    return float((long_cpu_s - short_cpu_s) / (long_s - short_s))


def recorded(folder: Path, rounds: int, seconds: float) -> None:
    print(f"recording a busy program at 1 kHz, {rounds} rounds of {seconds:g} s each")
    without, with_file = [], []
    with subprocess.Popen([sys.executable, "-c", BUSY]) as target:
        try:
            for _ in range(rounds):
                without.append(recorder_cpu_s(folder, target.pid, seconds))
                with_file.append(recorder_cpu_s(folder, target.pid, seconds, "--keep"))
        finally:
            target.kill()
    before, after = statistics.median(without), statistics.median(with_file)
    print(
        f"  CPU of the recorder: {100 * before:.2f} % of a CPU without a file, {100 * after:.2f} % with one"
        f" ({100 * (after / before - 1):+.1f} %)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--stacks", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    options = parser.parse_args()
    print(conditions())
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for stacks in options.stacks:
            made_up(Path(name), options.samples, stacks)
        if options.rounds:
            recorded(Path(name), options.rounds, options.seconds)


if __name__ == "__main__":
    main()
