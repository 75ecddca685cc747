"""What a recording keeps grows with what there is to see, not with how long one looks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

#: In a process of its own, because the peak of one is the peak of all that ran in it before.
_SCRIPT = """
import random, sys, time
from array import array
from pystack_profiler.counts import no_stats
from pystack_profiler.profile import ProcessFacts, Profile
from pystack_profiler.exporters import html, speedscope
from pystack_profiler.profile import Recording

MS = 1_000_000
THREADS, RATE_HZ, SECONDS = 8, 1000, int(sys.argv[1])
STACKS, DEPTH = 20_000, 30
chance = random.Random(3)


def peak_kib():
    # Not ru_maxrss: that remembers the process that forked this one.
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


class Batch:
    strings = frame_kind = frame_function = frame_file = frame_line = frame_first_line = ()
    frame_module = frame_build_id = frame_address = frame_inline_depth = frame_name_source = ()
    stack_parent = stack_frame = threads = late_cpu = ()
    wait_kind = wait_type = wait_name = wait_holder = ()
    stats = no_stats()
    finished = False


tables = Batch()
names = [f"function_{number}" for number in range(2000)]
tables.strings = ["", "/srv/app.py", *names]
tables.frame_kind = array("B", bytes(len(names)))
tables.frame_function = array("I", range(2, 2 + len(names)))
tables.frame_file = array("I", [1] * len(names))
tables.frame_line = tables.frame_first_line = array("i", range(len(names)))
tables.frame_module = tables.frame_build_id = array("I", bytes(4 * len(names)))
tables.frame_address = array("Q", bytes(8 * len(names)))
tables.frame_inline_depth = tables.frame_name_source = array("B", bytes(len(names)))
parents, frames = array("I", [0]), array("I", [0])
while len(parents) < STACKS:
    start = chance.randrange(len(parents))
    for _ in range(chance.randint(1, DEPTH)):
        parents.append(start)
        frames.append(chance.randrange(len(names)))
        start = len(parents) - 1
tables.stack_parent, tables.stack_frame = parents, frames
tables.threads = [(number, 1, 1 + number, 0, f"thread {number}", False) for number in range(THREADS)]
tables.time_ns = tables.weight_ns = tables.count = tables.thread = tables.stack = tables.state = ()
tables.cpu_ns = tables.runnable_ns = tables.wait = ()

# Each sample sees another stack, and threads take turns with the GIL: nothing can be merged.
PER_BATCH = RATE_HZ // 10
ticks = array("Q", [tick * MS for tick in range(1, PER_BATCH + 1) for _ in range(THREADS)])
batch = Batch()
batch.weight_ns = array("Q", [MS] * len(ticks))
batch.cpu_ns = batch.runnable_ns = array("Q", [MS // 2] * len(ticks))
batch.count = array("I", [1] * len(ticks))
batch.wait = array("I", bytes(4 * len(ticks)))
batch.thread = array("I", list(range(THREADS)) * PER_BATCH)
patterns = [
    (
        array("I", [chance.randrange(1, len(parents)) for _ in ticks]),
        array("B", [49 if row % 9 == 0 else 50 for row in range(len(ticks))]),
    )
    for _ in range(20)
]

profile = Profile(ProcessFacts(pid=1))
profile.append(tables)
before_kib = peak_kib()
begin_s = time.process_time()
for number in range(SECONDS * 10):
    offset_ns = number * PER_BATCH * MS
    batch.time_ns = array("Q", [time_ns + offset_ns for time_ns in ticks])
    batch.stack, batch.state = patterns[number % len(patterns)]
    profile.append(batch)
cpu_s = time.process_time() - begin_s
profile.process.end_ns = SECONDS * 1000 * MS
profile.finish()
recording_kib = peak_kib()
recording = Recording(pid=1, profiles=[profile], ended_ns=SECONDS * 1000 * MS)
assert recording.sample_count == SECONDS * RATE_HZ * THREADS
assert sum(run.weight_ns for run in profile.tracks[0].runs()) == SECONDS * 1000 * MS
with open("/dev/null", "w") as stream:
    html.export(recording, stream)
    speedscope.export(recording, stream)
all_kib = peak_kib()
print(before_kib, recording_kib, all_kib, cpu_s)
"""


def peaks_mib(seconds: int, folder: Path) -> tuple[float, float]:
    """While recording, and with the writing of the files."""
    script = folder / "script.py"
    script.write_text(_SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(seconds)], check=True, capture_output=True, text=True
    )
    _, recording_kib, all_kib, _ = map(float, done.stdout.split())
    return recording_kib / 1024, all_kib / 1024


def test_memory_does_not_grow_with_time(tmp_path: Path) -> None:
    """10 minutes of 8 threads at 1 kHz, of which no two samples can be merged, fill what there is.

    An hour of it takes six times as long to try, and the same memory: 140 MiB.
    """
    short_mib, _ = peaks_mib(80, tmp_path)
    long_mib, with_files_mib = peaks_mib(240, tmp_path)
    assert long_mib < short_mib + 20
    assert with_files_mib < 200


def test_a_recording_without_end_needs_no_more_memory_the_longer_it_lasts() -> None:
    """A shorter form of the day in benchmarks/always_on.py."""
    script = Path(__file__).parents[3] / "benchmarks" / "always_on.py"
    done = subprocess.run(
        [sys.executable, script, "--hours", "0.015", "--every", "6"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["samples_in_files"] == found["samples"] == 54 * 800
    assert found["weight_missing_ns"] == 0
    assert found["files"] == 9
    # Of which Python and its modules are half.
    assert found["peak_mib"] < 60
