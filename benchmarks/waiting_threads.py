#!/usr/bin/env python3
"""What a recording costs if many threads wait: the CPU time of the sampling thread, in per cents of a core.

    python benchmarks/waiting_threads.py [--threads 1000] [--rate 100] [--seconds 10] [--rounds 3]
                                         [--against PYTHON]

The threads sleep, wait for one lock that is held in a with block, or idle in a thread pool. The first seconds, in
which their reasons are read, are part of the time. PYTHON is an interpreter with another version of pystack: both
record the same process, one after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

TARGET = """
import concurrent.futures, sys, threading, time
kind, count = sys.argv[1], int(sys.argv[2])
lock, never = threading.Lock(), threading.Event()
def sleep(): time.sleep(100000)
def take(): lock.acquire()
if kind == "pool":
    pool = concurrent.futures.ThreadPoolExecutor(count)
    started = threading.Barrier(count + 1)
    for _ in range(count): pool.submit(started.wait)
    started.wait()
else:
    with lock:
        for _ in range(count):
            threading.Thread(target={"sleep": sleep, "lock": take}[kind], daemon=True).start()
        print("ready", flush=True)
        never.wait()
print("ready", flush=True)
never.wait()
"""

RECORD = """
import json, sys, time, pystack
pid, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
sampler = pystack.open_sampler(pid, rate_hz=rate)
sampler.start()
cpu_ns = elapsed_ns = known = samples = 0
end = time.monotonic() + seconds
while True:
    batch = sampler.next_batch(0.25)
    if time.monotonic() > end: sampler.stop()
    if batch is None: continue
    cpu_ns += batch.stats["cpu_ns"]
    elapsed_ns += batch.stats["elapsed_ns"]
    samples += sum(batch.count)
    waits = getattr(batch, "wait", [0] * len(batch.count))
    known += sum(count for count, wait in zip(batch.count, waits) if wait)
    if batch.finished: break
print(json.dumps({"cpu": 100 * cpu_ns / elapsed_ns, "known": 100 * known / samples}))
"""


def measured(python: str, pid: int, options: argparse.Namespace) -> dict[str, float]:
    command = [python, "-c", RECORD, str(pid), str(options.rate), str(options.seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", default=sys.executable, help="the interpreter of the target")
    parser.add_argument("--against", help="an interpreter with another version of pystack")
    options = parser.parse_args()
    tools = {"this": sys.executable}
    if options.against:
        tools["against"] = options.against
    for kind in ("sleep", "lock", "pool"):
        command = [options.target, "-c", TARGET, kind, str(options.threads)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as target:
            assert target.stdout is not None
            target.stdout.readline()
            rounds = [
                {name: measured(python, target.pid, options) for name, python in tools.items()}
                for _ in range(options.rounds)
            ]
            target.kill()
        print(f"{options.threads} threads, {kind}, {options.rate:g} Hz, {options.seconds:g} s:")
        for name in tools:
            cpu = [one[name]["cpu"] for one in rounds]
            known = statistics.median(one[name]["known"] for one in rounds)
            print(
                f"  {name:8} {statistics.median(cpu):6.2f} % of a core ({min(cpu):.2f} to"
                f" {max(cpu):.2f}); reasons in {known:.1f} % of the samples"
            )


if __name__ == "__main__":
    main()
