"""The stacks of a recording, from the tables that its batches hand over bit by bit."""

from __future__ import annotations

import time
from typing import NamedTuple

import pystack
from pystack.sampling import Batch
from pystack_profiler.counts import add_stats, no_stats


class SampledFrame(NamedTuple):
    kind: int  # pystack.sampling.FrameKind
    function: str
    file: str
    line: int | None
    module: str
    build_id: str
    address: int  # in the module
    inline_depth: int
    name_source: int  # pystack._core.NameSource


class SampledStacks:
    """Grows with each batch; what a batch says of samples, but for their counts, is the caller's."""

    def __init__(self) -> None:
        self.stats = no_stats()
        self._strings: list[str] = []
        self._frames: list[SampledFrame] = []
        self._rows: list[tuple[int, int]] = []  # caller, frame; row 0 is no stack

    def add(self, batch: Batch) -> None:
        add_stats(self.stats, batch.stats)
        self._strings += batch.strings
        texts = self._strings
        rows = zip(
            batch.frame_kind,
            batch.frame_function,
            batch.frame_file,
            batch.frame_line,
            batch.frame_module,
            batch.frame_build_id,
            batch.frame_address,
            batch.frame_inline_depth,
            batch.frame_name_source,
            strict=True,
        )
        for kind, function, file, line, module, build_id, *place in rows:
            self._frames.append(
                SampledFrame(
                    kind,
                    texts[function],
                    texts[file],
                    line if line > 0 else None,
                    texts[module],
                    texts[build_id],
                    *place,
                )
            )
        self._rows += zip(batch.stack_parent, batch.stack_frame, strict=True)

    def frames(self, stack: int) -> list[SampledFrame]:
        """Outermost first."""
        found = []
        while stack:
            stack, frame = self._rows[stack]
            found.append(self._frames[frame])
        return found[::-1]


class Recorded:
    """All samples of a recording: each stack as the names of its frames, outermost first."""

    def __init__(self, pid: int, samples: int, native: pystack.Native) -> None:
        sampler = pystack.open_sampler(pid, rate_hz=200, native=native)
        tables = SampledStacks()
        threads: dict[int, tuple[int, int, int, int, str, bool]] = {}
        owners: list[int] = []
        seen: list[int] = []
        sampler.start()
        deadline = time.monotonic() + 60
        finished = False
        while not finished:
            batch = sampler.next_batch(0.1)
            if batch is not None:
                tables.add(batch)
            if tables.stats["taken"] >= samples or time.monotonic() > deadline:
                sampler.stop()
            if batch is None:
                continue
            seen += batch.stack
            owners += batch.thread
            threads.update({one[0]: one for one in batch.threads})
            finished = batch.finished
        self.stats = tables.stats
        self.frames = [tables.frames(stack) for stack in seen]
        self.stacks = [[frame.function for frame in stack] for stack in self.frames]
        #: The tid and the interpreter of each of them.
        self.owners = [(threads[one][2], threads[one][3]) for one in owners]
