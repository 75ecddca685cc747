"""Recordings of a program whose samples are drawn by chance."""

from __future__ import annotations

import random

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack_profiler.profile import Recording

_FUNCTIONS = 30


def drawn_run(
    seed: int, *, slower: float = 1.0, ticks: int = 2000, phases: bool = False
) -> Recording:
    """A program of 30 functions, sampled at random; the first one has a fifth of the time. Its second
    half is of other functions if it has phases."""
    chance = random.Random(seed)
    weights = [0.2 * slower, *(0.8 / (_FUNCTIONS - 1) for _ in range(_FUNCTIONS - 1))]
    writer = BatchWriter()
    thread = writer.thread(100, "main")
    for tick, number in enumerate(chance.choices(range(_FUNCTIONS), weights, k=ticks), 1):
        name = f"f{number}_{2 * tick // ticks}" if phases else f"f{number}"
        writer.sample(thread, tick * MS, MS, [Frame("main"), Frame(name)])
    return recording_of(writer, start_ns=1, end_ns=ticks * MS)
