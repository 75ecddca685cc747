"""Recordings of programs that never ran, for exporters to be tried on."""

from __future__ import annotations

import random

from profiler_fakes import MS, BatchWriter, Frame, Wait, recording_of
from pystack.sampling import SampleState
from pystack_profiler.profile import Recording

_STATES = 64  # all combinations of the bits of SampleState
_WAITS = (
    None,
    Wait("timer"),
    Wait("socket", name="10.0.0.5:5432"),
    Wait("lock", "_thread.lock", "L", 0),
)


def random_recording(seed: int, processes: int = 1) -> Recording:
    chance = random.Random(seed)
    functions = [Frame(f"f{number}", f"/srv/m{number % 3}.py", number) for number in range(12)]
    start_ns = chance.randrange(10**15)
    writers = [_written(chance, functions, start_ns) for _ in range(processes)]
    end_ns = start_ns + chance.randrange(10_000 * MS)
    return recording_of(*writers, start_ns=start_ns, end_ns=end_ns)


def _written(chance: random.Random, functions: list[Frame], start_ns: int) -> BatchWriter:
    writer = BatchWriter()
    for tid in range(chance.randint(1, 4)):
        thread = writer.thread(tid + 1, f"t{tid}")
        time_ns = start_ns + chance.randrange(50 * MS)
        for _ in range(chance.randrange(200)):
            weight_ns = chance.randrange(20 * MS)
            time_ns += weight_ns + chance.choice([0, 0, 0, chance.randrange(100 * MS)])
            frames = [
                chance.choice(functions)._replace(line=chance.randrange(3))
                for _ in range(chance.randrange(6))
            ]
            state = chance.randrange(_STATES)
            cpu_ns = chance.randrange(weight_ns + 1) if state & SampleState.ON_CPU else 0
            runnable_ns = weight_ns - cpu_ns if state & SampleState.ON_CPU else 0
            writer.sample(
                thread,
                time_ns,
                weight_ns,
                frames,
                state,
                cpu_ns=cpu_ns,
                runnable_ns=runnable_ns,
                wait=None if state & SampleState.ON_CPU else chance.choice(_WAITS),
            )
    return writer


def large_recording(
    distinct_stacks: int, threads: int = 8, seed: int = 7, *, samples: int = 0, frames: int = 0
) -> Recording:
    """Stacks of few hot and many cold functions, of some 7 frames, or of about `frames`. Each is sampled once; then, up
    to `samples`, stacks come again, some of them often."""
    chance = random.Random(seed)
    files = [f"/srv/app/module_{number}.py" for number in range(40)]
    files += [f"/usr/lib/python3.13/lib_{number}.py" for number in range(20)]
    functions = [
        Frame(f"Class{number % 97}.function_{number}", files[number % 60], number % 900 + 1)
        for number in range(3000)
    ]
    writer = BatchWriter()
    tracks = [writer.thread(100 + number, f"worker_{number}") for number in range(threads)]
    seen: set[tuple[Frame, ...]] = set()
    stacks = []
    path = [functions[0]]
    start_ns = time_ns = 10**9

    def sample(frames: list[Frame] | int) -> int:
        nonlocal time_ns
        time_ns += MS
        weight_ns = min(int(MS * chance.paretovariate(1.2)), start_ns)
        state = chance.randrange(_STATES)
        return writer.sample(tracks[len(seen) % threads], time_ns, weight_ns, frames, state)

    while len(seen) < distinct_stacks:
        cut = len(path) if chance.random() < 0.02 else chance.choice([1, 2, 2, 3, 3, 4, 6, 10])
        del path[max(1, len(path) - cut) :]
        calls = chance.randint(1, 6) + (chance.randint(1, 6) if len(path) < frames else 0)
        for _ in range(calls):
            if len(path) < 60:
                function = functions[int(chance.paretovariate(0.6)) % len(functions)]
                path.append(function._replace(line=function.first_line + chance.randint(1, 5)))
        seen.add(tuple(path))
        stacks.append(sample(path))
    for number in range(samples - len(stacks)):
        thread = tracks[number % threads]
        again = stacks[int(chance.paretovariate(0.3)) % len(stacks)]
        time_ns += MS // threads
        writer.sample(thread, time_ns, MS, again, chance.randrange(_STATES))
    return recording_of(writer, start_ns=start_ns, end_ns=time_ns)
