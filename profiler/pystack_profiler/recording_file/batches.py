"""A profile that is in memory as one batch, so that there is one way to write samples."""

from __future__ import annotations

from array import array
from dataclasses import astuple
from typing import TYPE_CHECKING

from ..counts import no_stats
from ..profile import Profile
from ..tables import SymbolTables

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats


class SampleColumns:
    """The samples of a batch without new rows of the tables."""

    def __init__(self) -> None:
        self.time_ns = array("Q")
        self.weight_ns = array("Q")
        self.count = array("I")
        self.thread = array("I")
        self.stack = array("I")
        self.state = array("H")
        self.wait = array("I")
        self.cpu_ns = array("Q")
        self.runnable_ns = array("Q")


class MemoryBatch:
    """A `Batch` of columns that are in memory."""

    def __init__(
        self,
        samples: SampleColumns,
        tables: SymbolTables,
        threads: list[tuple[int, int, int, int, str, bool]],
        late_cpu: list[tuple[int, int, int]],
        stats: SamplerStats,
        holders: array[int],
    ) -> None:
        """`holders`: as `wait_holder` of the tables, by the numbers of `threads`."""
        self.time_ns = samples.time_ns
        self.weight_ns = samples.weight_ns
        self.count = samples.count
        self.thread = samples.thread
        self.stack = samples.stack
        self.state = samples.state
        self.wait = samples.wait
        self.cpu_ns = samples.cpu_ns
        self.runnable_ns = samples.runnable_ns
        self.late_cpu = late_cpu
        self.strings = tables.strings
        self.frame_kind = tables.frame_kind
        self.frame_function = tables.frame_function
        self.frame_file = tables.frame_file
        self.frame_line = tables.frame_line
        self.frame_first_line = tables.frame_first_line
        self.frame_module = tables.frame_module
        self.frame_build_id = tables.frame_build_id
        self.frame_address = tables.frame_address
        self.frame_inline_depth = tables.frame_inline_depth
        self.frame_name_source = tables.frame_name_source
        self.stack_parent = tables.stack_parent
        self.stack_frame = tables.stack_frame
        self.wait_kind = tables.wait_kind
        self.wait_type = tables.wait_type
        self.wait_name = tables.wait_name
        self.wait_holder = holders
        self.threads = threads
        self.stats = stats
        self.finished = True
        self.ends_tables = False


def batch_of(profile: Profile) -> MemoryBatch:
    """All that the profile has. Its gaps come back when the samples are appended."""
    samples = SampleColumns()
    columns = list(vars(samples).values())
    threads: list[tuple[int, int, int, int, str, bool]] = []
    late_cpu: list[tuple[int, int, int]] = []
    for number, track in enumerate(profile.all_tracks):
        threads.append((number, *astuple(track.identity)))
        if track.late_cpu_ns or track.late_runnable_ns:
            late_cpu.append((number, track.late_cpu_ns, track.late_runnable_ns))
        for run in track.runs():
            if run.samples:
                row = (
                    *(run.start_ns + run.weight_ns, run.weight_ns, run.samples, number),
                    *(run.stack, run.state, run.wait, run.cpu_ns, run.runnable_ns),
                )
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
    holders = _holders(profile, threads)
    return MemoryBatch(samples, profile.tables, threads, late_cpu, profile.stats, holders)


def _holders(profile: Profile, threads: list[tuple[int, int, int, int, str, bool]]) -> array[int]:
    """Who is waited for, by the numbers of the tracks. Threads without a track are added to `threads`."""
    numbers = profile.window.numbers
    number_of = {numbers[track]: place for place, track in enumerate(profile.tracks)}
    holders = array("I")
    for holder in profile.tables.wait_holder:
        who = profile.identity_of(holder - 1) if holder else None
        if who is None:
            holders.append(0)
            continue
        place = number_of.setdefault(holder - 1, len(threads))
        if place == len(threads):
            threads.append((place, *astuple(who)))
        holders.append(place + 1)
    return holders


def batch_of_samples(samples: SampleColumns, late_cpu: list[tuple[int, int, int]]) -> MemoryBatch:
    """Samples of threads and stacks that are known already."""
    return MemoryBatch(samples, SymbolTables(), [], late_cpu, no_stats(), array("I"))
