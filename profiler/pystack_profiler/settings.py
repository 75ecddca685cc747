"""How to sample."""

from __future__ import annotations

from dataclasses import dataclass

import pystack
from pystack.errors import InvalidArgument

#: Processes of a tree that are recorded at the same time. Each needs a thread and tables in the
#: recorder, and the target chooses their number.
DEFAULT_MAX_PROCESSES = 200

#: The share of one CPU for sampling a process that is stopped for each sample.
DEFAULT_MAX_CPU = 0.2

#: The share of the time in which threads may stand still for samples.
DEFAULT_MAX_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Settings:
    """How to sample. Raises `InvalidArgument` for what no sampler checks."""

    rate_hz: float = 100.0
    duration_s: float | None = None  # None: until stopped, or the target's end
    stop: bool | None = None  # each running thread for its sample; None: if there is no other way
    exhaustive: bool = False
    subprocesses: bool = False
    native: pystack.Native | bool | None = None  # implies `stop`
    tasks: bool = False  # of asyncio and trio, too
    raise_priority: bool = True  # of the sampling threads, if the caller has normal priority
    max_cpu: float | None = None  # share of one CPU, per process; None: the default
    max_pause: float = DEFAULT_MAX_PAUSE  # share of the time, per process
    max_processes: int = DEFAULT_MAX_PROCESSES  # with subprocesses: recorded at the same time
    max_memory: int | None = None  # for one sampler's tables; None: the default

    def __post_init__(self) -> None:
        if self.duration_s is not None and not self.duration_s >= 0:
            raise InvalidArgument(f"duration_s must not be negative, not {self.duration_s}")
        if not self.max_processes >= 1:
            raise InvalidArgument(f"max_processes must be positive, not {self.max_processes}")

    @property
    def records_native(self) -> bool:
        return self.native not in (None, False)

    @property
    def stops_target(self) -> bool:
        """Whether each running thread is stopped for its sample."""
        return bool(self.stop) or self.records_native

    @property
    def max_cpu_share(self) -> float:
        """The share of one CPU for sampling one process; 1: no limit."""
        if self.max_cpu is not None:
            return self.max_cpu
        return DEFAULT_MAX_CPU if self.stops_target else 1.0
