"""`record`: one call for a recording of another process, or of a block of the own one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict, overload

import pystack
from pystack.errors import PystackError

from . import driver
from .driver import Progress
from .profile import Recording
from .recorded_block import RecordedBlock
from .recorder import Recorder, budget_of, open_targets
from .settings import DEFAULT_MAX_PAUSE, DEFAULT_MAX_PROCESSES, Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Sampling(TypedDict, total=False):
    """What becomes `Settings`."""

    duration_s: float | None
    rate_hz: float
    stop: bool | None
    native: pystack.Native | bool | None
    tasks: bool
    subprocesses: bool
    exhaustive: bool
    raise_priority: bool
    max_cpu: float | None
    max_pause: float
    max_processes: int
    max_memory: int | None


class RecordOptions(_Sampling, total=False):
    """The keyword arguments of `record`, which describes them."""

    stop_requested: Callable[[], bool]
    on_progress: Callable[[Progress], None]


class RecordingAborted(PystackError):
    """An exception of a callback ended `record`; it is the cause (`__cause__`)."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(f"the recording was aborted: {recording.error}", pid=recording.pid)
        #: What was recorded until then.
        self.recording = recording


@overload
def record(pid: int, **options: Unpack[RecordOptions]) -> Recording: ...
@overload
def record(pid: None = None, **options: Unpack[RecordOptions]) -> RecordedBlock: ...
def record(
    pid: int | None = None,
    *,
    duration_s: float | None = None,
    rate_hz: float = 100.0,
    stop: bool | None = None,
    native: pystack.Native | bool | None = None,
    tasks: bool = False,
    subprocesses: bool = False,
    exhaustive: bool = False,
    raise_priority: bool = True,
    max_cpu: float | None = None,
    max_pause: float = DEFAULT_MAX_PAUSE,
    max_processes: int = DEFAULT_MAX_PROCESSES,
    max_memory: int | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Recording | RecordedBlock:
    """Samples a running Python process, and returns when that is over.

    It is over after `duration_s`, when `stop_requested` returns True, or when the process exits. Without a
    `pid`, it is a `RecordedBlock` for a with statement, which records the calling process.

    Args:
        pid: The process ID. None means the calling process, until the with block ends or until it is over.
        duration_s: The time to record, in seconds. None: no limit.
        rate_hz: Samples per second, of each thread.
        stop: Whether to stop each running thread for its sample. None: only threads whose stacks
            change too fast to be read otherwise, and only if the system allows it.
        native: Also record native frames. True means `pystack.Native()`. Implies `stop`.
        tasks: Also record the tasks of asyncio and trio (`Profile.task_tracks`), those that wait too.
        subprocesses: Also record the descendants of the process that run Python. The process itself
            need not be Python.
        exhaustive: Also search anonymous memory for the interpreter.
        raise_priority: As for `pystack.dump`.
        max_cpu: The share of one CPU for recording all processes, above 0 and at most 1; the rate is lowered
            by it. None: 0.2 for sampling each process if threads are stopped for their samples, else no limit.
        max_pause: The share of the time in which threads of one process may stand still for samples,
            above 0 and at most 1.
        max_processes: With `subprocesses`, the number of processes recorded at the same time.
        max_memory: The number of bytes for the tables of one process. None: 256 MiB.
        stop_requested: Called at least 4 times per second.
        on_progress: Called about 4 times per second, with counts and the recording so far.

    Raises:
        InvalidArgument: A value is out of range, or the calling process would have to stop itself.
        Cancelled: `stop_requested` returned True before the interpreter was found.
        PystackError: As `pystack.dump`, if the process cannot be read.
        RecordingAborted: A callback raised an exception. It has what was recorded until then.

    If the recording fails later, what was recorded is returned: `end_reason` is "failed", and `error`
    says why.
    """
    sampling: _Sampling = {
        "duration_s": duration_s,
        "rate_hz": rate_hz,
        "stop": stop,
        "native": native,
        "tasks": tasks,
        "subprocesses": subprocesses,
        "exhaustive": exhaustive,
        "raise_priority": raise_priority,
        "max_cpu": max_cpu,
        "max_pause": max_pause,
        "max_processes": max_processes,
        "max_memory": max_memory,
    }
    if pid is None:
        return RecordedBlock(
            Recorder(**sampling, stop_requested=stop_requested, on_progress=on_progress)
        )
    settings = Settings(**sampling)
    targets = open_targets(pid, settings, stop_requested)
    recording = driver.new_recording(pid, settings)
    try:
        driver.record_targets(
            targets,
            recording,
            duration_s,
            stop_requested=stop_requested,
            on_progress=on_progress,
            budget=budget_of(settings),
        )
    except Exception as error:
        if recording.end_reason != "failed":
            raise  # No process ran Python.
        raise RecordingAborted(recording) from error
    finally:
        targets.close()
    return recording
