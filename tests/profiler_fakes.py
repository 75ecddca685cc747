"""A sampler without a process: what it saw is written down by the test."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pystack.sampling import WAIT_KINDS, SampleState
from pystack_profiler.counts import no_stats
from pystack_profiler.profile import EndReason, ProcessFacts, Profile, Recording

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats

MS = 1_000_000


class Frame(NamedTuple):
    function: str
    file: str = "/srv/app.py"
    first_line: int = 1
    line: int = 1
    kind: int = 0
    # Of native frames:
    module: str = ""
    build_id: str = ""
    address: int = 0
    inline_depth: int = 0
    name_source: int = 0


class Wait(NamedTuple):
    kind: str
    type: str = ""
    name: str = ""
    holder: int | None = None  # a thread


@dataclass
class FakeBatch:
    time_ns: list[int] = field(default_factory=list)
    weight_ns: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    thread: list[int] = field(default_factory=list)
    stack: list[int] = field(default_factory=list)
    state: list[int] = field(default_factory=list)
    wait: list[int] = field(default_factory=list)
    cpu_ns: list[int] = field(default_factory=list)
    runnable_ns: list[int] = field(default_factory=list)
    late_cpu: list[tuple[int, int, int]] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    frame_kind: list[int] = field(default_factory=list)
    frame_function: list[int] = field(default_factory=list)
    frame_file: list[int] = field(default_factory=list)
    frame_line: list[int] = field(default_factory=list)
    frame_first_line: list[int] = field(default_factory=list)
    frame_module: list[int] = field(default_factory=list)
    frame_build_id: list[int] = field(default_factory=list)
    frame_address: list[int] = field(default_factory=list)
    frame_inline_depth: list[int] = field(default_factory=list)
    frame_name_source: list[int] = field(default_factory=list)
    stack_parent: list[int] = field(default_factory=list)
    stack_frame: list[int] = field(default_factory=list)
    wait_kind: list[int] = field(default_factory=list)
    wait_type: list[int] = field(default_factory=list)
    wait_name: list[int] = field(default_factory=list)
    wait_holder: list[int] = field(default_factory=list)
    threads: list[tuple[int, int, int, int, str, bool]] = field(default_factory=list)
    stats: SamplerStats = field(default_factory=no_stats)
    finished: bool = False
    ends_tables: bool = False


class BatchWriter:
    """Interns what it is told, as the C++ sampler does, and hands it out in batches."""

    def __init__(self) -> None:
        self._batch = FakeBatch(
            strings=[""],
            stack_parent=[0],
            stack_frame=[0],
            wait_kind=[0],
            wait_type=[0],
            wait_name=[0],
            wait_holder=[0],
        )
        self._strings = {"": 0}
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[int, int], int] = {}
        self._waits: dict[Wait, int] = {}
        self._threads = 0

    def thread(
        self,
        tid: int,
        name: str = "",
        *,
        pid: int = 100,
        interpreter_id: int = 0,
        is_of_tasks: bool = False,
    ) -> int:
        row = (self._threads, pid, tid, interpreter_id, name, is_of_tasks)
        self._batch.threads.append(row)
        self._threads += 1
        return self._threads - 1

    def rename(self, thread: int, tid: int, name: str, *, pid: int = 100) -> None:
        self._batch.threads.append((thread, pid, tid, 0, name, False))

    def sample(
        self,
        thread: int,
        time_ns: int,
        weight_ns: int,
        frames: Sequence[Frame] | int,  # or the number of an earlier stack
        state: int = 0,
        count: int = 1,
        cpu_ns: int | None = None,  # None: all of it if the thread is on a CPU
        runnable_ns: int = 0,
        wait: Wait | None = None,
    ) -> int:
        """Returns the number of the stack."""
        stack = frames if isinstance(frames, int) else 0
        for frame in () if isinstance(frames, int) else frames:
            key = (stack, self._frame(frame))
            if key not in self._stacks:
                self._stacks[key] = len(self._stacks) + 1
                self._batch.stack_parent.append(key[0])
                self._batch.stack_frame.append(key[1])
            stack = self._stacks[key]
        self._batch.time_ns.append(time_ns)
        self._batch.weight_ns.append(weight_ns)
        self._batch.count.append(count)
        self._batch.thread.append(thread)
        self._batch.stack.append(stack)
        self._batch.state.append(state)
        self._batch.wait.append(0 if wait is None else self._wait(wait))
        on_cpu_ns = weight_ns if state & SampleState.ON_CPU else 0
        self._batch.cpu_ns.append(on_cpu_ns if cpu_ns is None else cpu_ns)
        self._batch.runnable_ns.append(runnable_ns)
        return stack

    def late_cpu(self, thread: int, cpu_ns: int, runnable_ns: int = 0) -> None:
        self._batch.late_cpu.append((thread, cpu_ns, runnable_ns))

    def batch(self, *, finished: bool = False) -> FakeBatch:
        batch, self._batch = self._batch, FakeBatch()
        batch.finished = finished
        return batch

    def _frame(self, frame: Frame) -> int:
        if frame not in self._frames:
            self._frames[frame] = len(self._frames)
            self._batch.frame_kind.append(frame.kind)
            self._batch.frame_function.append(self._string(frame.function))
            self._batch.frame_file.append(self._string(frame.file))
            self._batch.frame_line.append(frame.line)
            self._batch.frame_first_line.append(frame.first_line)
            self._batch.frame_module.append(self._string(frame.module))
            self._batch.frame_build_id.append(self._string(frame.build_id))
            self._batch.frame_address.append(frame.address)
            self._batch.frame_inline_depth.append(frame.inline_depth)
            self._batch.frame_name_source.append(frame.name_source)
        return self._frames[frame]

    def _wait(self, wait: Wait) -> int:
        if wait not in self._waits:
            self._waits[wait] = len(self._waits) + 1
            self._batch.wait_kind.append(WAIT_KINDS.index(wait.kind))
            self._batch.wait_type.append(self._string(wait.type))
            self._batch.wait_name.append(self._string(wait.name))
            self._batch.wait_holder.append(0 if wait.holder is None else wait.holder + 1)
        return self._waits[wait]

    def _string(self, text: str) -> int:
        if text not in self._strings:
            self._strings[text] = len(self._strings)
            self._batch.strings.append(text)
        return self._strings[text]


def stats(**counts: int | list[int]) -> SamplerStats:
    return no_stats() | counts  # type: ignore[return-value]


class FakeSampler:
    """Hands out its batches one by one; then it is silent, or ends if `ends` says so.

    The counts come with the first batch.
    """

    python_version = "3.13.5"
    other_interpreters: Sequence[str] = ()

    def __init__(
        self,
        batches: Iterable[FakeBatch] = (),
        *,
        ends: EndReason = "running",
        **counts: int | list[int],
    ) -> None:
        self._batches = list(batches)
        self.end_reason: EndReason = ends
        self.error: str | None = None
        self.started = self.stopped = False
        self.renewals = 0
        self.max_cpu_share = 1.0
        self.counts: SamplerStats | None = stats(**counts)

    def start(self) -> None:
        self.started = True

    def next_batch(self, timeout_s: float) -> FakeBatch | None:
        if self._batches:
            batch = self._batches.pop(0)
        elif self.end_reason == "running":
            return None
        else:
            batch = FakeBatch(finished=True)
        if self.counts is not None:
            batch.stats, self.counts = self.counts, None
        return batch

    def renew_tables(self) -> None:
        self.renewals += 1

    def set_max_cpu_share(self, share: float) -> None:
        self.max_cpu_share = share

    def stop(self) -> None:
        self.stopped = True
        if self.end_reason == "running":
            self.end_reason = "stopped"


class BusySampler(FakeSampler):
    """Samples threads that compute, faster than time: each batch has the next `batch_s` seconds of them.

    It ends after `duration_s` seconds. `now_s` is its time; each batch has other functions.
    """

    def __init__(
        self,
        duration_s: float,
        *,
        threads: int = 8,
        rate_hz: int = 100,
        batch_s: float = 1.0,
        functions: int = 50,
    ) -> None:
        super().__init__()
        self.counts = None
        self._threads = threads
        self._interval_ns = 1_000_000_000 // rate_hz
        self._ticks = round(batch_s * rate_hz)
        self._functions = functions
        self._time_ns = self._begin_ns = time.monotonic_ns()
        self._end_ns = self._begin_ns + round(duration_s * 1e9)
        self._asks_for_tables = False
        self._batches_made = 0
        self.taken = 0
        self._begin_tables()

    def now_s(self) -> float:
        return (self._time_ns - self._begin_ns) / 1e9

    def renew_tables(self) -> None:
        super().renew_tables()
        self._asks_for_tables = True

    def next_batch(self, timeout_s: float) -> FakeBatch | None:
        if self._asks_for_tables:
            self._asks_for_tables = False
            batch = self._writer.batch()
            batch.ends_tables = True
            self._begin_tables()
            return batch
        is_over = self.stopped or self._time_ns >= self._end_ns
        if is_over:
            self.end_reason = "stopped" if self.stopped else "target_exited"
            return self._writer.batch(finished=True)
        return self._sample()

    def _begin_tables(self) -> None:
        self._writer = BatchWriter()
        self._numbers = [
            self._writer.thread(1 + index, f"worker-{index}") for index in range(self._threads)
        ]

    def _sample(self) -> FakeBatch:
        self._batches_made += 1
        busy = SampleState.ON_CPU | SampleState.CPU_KNOWN
        for tick in range(self._ticks):
            self._time_ns += self._interval_ns
            for thread in self._numbers:
                name = f"f{self._batches_made}_{(tick * 7 + thread * 3) % self._functions}"
                stack = [Frame("main"), Frame(f"run_{thread}"), Frame(name)]
                self._writer.sample(thread, self._time_ns, self._interval_ns, stack, busy)
        samples = self._ticks * self._threads
        self.taken += samples
        batch = self._writer.batch()
        batch.stats = stats(
            ticks=self._ticks,
            attempted=samples,
            taken=samples,
            elapsed_ns=self._ticks * self._interval_ns,
        )
        return batch


def profile_of(
    writer: BatchWriter,
    *,
    pid: int = 100,
    start_ns: int = 0,
    end_ns: int = 0,
    **counts: int | list[int],
) -> Profile:
    """A finished profile of all that was written."""
    profile = Profile(
        ProcessFacts(
            pid=pid,
            command=("python", "app.py"),
            python_version="3.13.5",
            start_ns=start_ns,
            end_ns=end_ns,
            end_reason="stopped",
        )
    )
    batch = writer.batch(finished=True)
    batch.stats = stats(**counts)
    profile.append(batch)
    profile.finish()
    return profile


def recording_of(
    *writers: BatchWriter, start_ns: int = 0, end_ns: int = 0, **counts: int | list[int]
) -> Recording:
    """A finished recording of one process a writer, whose pids are 100, 200 and so on."""
    return Recording(
        pid=100,
        command=("python", "app.py"),
        tool_version="0.1.0",
        rate_hz=100.0,
        subprocesses=len(writers) > 1,
        began_ns=start_ns,
        ended_ns=end_ns,
        end_reason="stopped",
        profiles=[
            profile_of(writer, pid=100 * number, start_ns=start_ns, end_ns=end_ns, **counts)
            for number, writer in enumerate(writers, 1)
        ],
    )
