#!/usr/bin/env python3
"""How long a program stands still while its native stacks are recorded.

The target has one thread that computes, and 160 that sleep: threads that Python does not know, or Python's own. The
pauses are what the recorder counts, each from the last moment at which the thread was seen to run. What the target sees
itself is the time that is missing between two looks at the clock, beyond what is missing when nobody records.

    python benchmarks/pauses.py [--rate 100] [--seconds 10] [--busy] [INTERPRETER ...]

`--busy`: as many other programs compute as there are CPUs; then the target's own gaps are those of the scheduler.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import conditions, peer

from interpreters import by_name
from pystack_profiler import record
from pystack_profiler.stats import format_share, pauses

TARGET = """
import ctypes, sys, threading, time
libc = ctypes.CDLL(None)
if sys.argv[1] == "native":
    for _ in range(160):
        libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
else:
    for _ in range(160):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
def gaps(seconds):
    missing, last = 0, time.perf_counter_ns()
    end = last + int(seconds * 1e9)
    while last < end:
        now = time.perf_counter_ns()
        if now - last > 10_000: missing += now - last
        last = now
    return missing / seconds / 1e9
for line in sys.stdin: print(gaps(float(line)), flush=True)
"""


def measure(command: list[str], seconds: float, rate: float) -> dict[str, str]:
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as target:
        assert target.stdin is not None
        assert target.stdout is not None
        target.stdout.readline()

        def gaps_during(seconds: float) -> None:
            print(seconds, file=target.stdin, flush=True)

        gaps_during(seconds)
        alone = float(target.stdout.readline())
        gaps_during(seconds)
        recording = record(target.pid, duration_s=seconds, rate_hz=rate, native=True)
        recorded = float(target.stdout.readline())
        spy = [str(peer("py-spy")), "record", "-p", str(target.pid), "-r", str(round(rate))]
        spy += ["--native", "-d", str(round(seconds)), "-f", "raw", "-o", os.devnull]
        gaps_during(seconds)
        subprocess.run(spy, check=False, capture_output=True)
        spied = float(target.stdout.readline())
        target.kill()
    stats = recording.stats
    return {
        "pauses": f"{format_share(stats['stop_ns_total'], stats['elapsed_ns'])}: {pauses(stats)}",
        "ticks": f"{stats['ticks']:,} of {stats['ticks'] + stats['missed']:,}",
        "missing in the target": f"{100 * (recorded - alone):.2f} points",
        "beside py-spy --native": f"{100 * (spied - alone):.2f} points",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("interpreters", nargs="*", default=["3.11-debian"])
    options = parser.parse_args()
    print(conditions())
    with ExitStack() as others:
        for _ in range((os.cpu_count() or 1) if options.busy else 0):
            busy = others.enter_context(
                subprocess.Popen([sys.executable, "-c", "while True: pass"])
            )
            others.callback(busy.kill)
        for name in options.interpreters:
            interpreter = by_name(name)
            for kind in ("native", "python"):
                command = interpreter.command("-c", TARGET, kind)
                print(f"{interpreter.name}, 160 sleeping {kind} threads, {options.rate:g} Hz:")
                for what, value in measure(command, options.seconds, options.rate).items():
                    print(f"  {what}: {value}")


if __name__ == "__main__":
    main()
