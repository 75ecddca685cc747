"""Recordings in the background of a program.

It sets no signal handlers, prints nothing, and does not need the main thread.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from types import TracebackType

import pystack
from pystack.errors import InvalidArgument, PystackError

from . import driver
from .cpu_budget import CpuBudget
from .driver import OneProcess, Progress, Run, Targets
from .process_recorder import ProcessRecorder
from .profile import Recording
from .settings import DEFAULT_MAX_PAUSE, DEFAULT_MAX_PROCESSES, Settings

#: How long the end of a recording waits for a callback.
_CALLBACK_PATIENCE_S = 1.0


def open_targets(
    pid: int, settings: Settings, cancelled: Callable[[], bool] | None = None
) -> Targets:
    """Finds the interpreter of `pid` and begins to sample it, with its descendants if wanted.

    Raises a `PystackError` if that fails; the error is `Cancelled` if `cancelled` returned True.
    """
    if settings.subprocesses:
        from .tree_recording import ProcessFamily  # rarely needed, and slow to import

        return ProcessFamily(
            pid,
            lambda member: driver.open_sampler(member, settings, cancelled),
            settings.max_processes,
        )
    return OneProcess(ProcessRecorder(driver.open_sampler(pid, settings, cancelled), pid))


def budget_of(settings: Settings) -> CpuBudget | None:
    """For a process that does other work, too."""
    return None if settings.max_cpu is None else CpuBudget(settings.max_cpu, whole_process=False)


class Recorder:
    """Records a process in a background thread, while the caller works.

        with Recorder() as recording:
            work()
        export_html(recording, stream)

    The recording ends with the block. Until then, `recording.snapshot()` is what was recorded so far.
    In a notebook, or where a block does not fit, call `start` and `stop` instead. A recorder records
    once. The thread is named "pystack-recorder", and is in the recording of its own process.
    """

    def __init__(
        self,
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
    ) -> None:
        """The arguments are those of `record`. The background thread calls the callbacks."""
        self._settings = Settings(
            rate_hz=rate_hz,
            duration_s=duration_s,
            stop=stop,
            native=native,
            tasks=tasks,
            subprocesses=subprocesses,
            exhaustive=exhaustive,
            raise_priority=raise_priority,
            max_cpu=max_cpu,
            max_pause=max_pause,
            max_processes=max_processes,
            max_memory=max_memory,
        )
        self._pid = pid
        self._stop_requested = stop_requested
        self._on_progress = on_progress
        self._starting = threading.RLock()
        self._stopping = threading.Event()
        self._targets: Targets | None = None
        self._recording: Recording | None = None
        self._thread: threading.Thread | None = None
        self._run: Run | None = None
        self._error: BaseException | None = None
        self._owner = 0  # the process that started it

    def start(self) -> Recording:
        """Begins to record. Raises what `record` raises, if the process cannot be read."""
        with self._starting:
            if self._recording is not None:
                raise InvalidArgument("a Recorder can be started only once", pid=self._pid)
            self._owner = os.getpid()
            self._stopping.clear()  # A start may be tried again.
            pid = self._owner if self._pid is None else self._pid
            self._targets = open_targets(pid, self._settings)
            try:
                recording = driver.new_recording(pid, self._settings)
                # The thread's own pauses end with the recording.
                self._run = Run(
                    self._targets,
                    recording,
                    self._settings.duration_s,
                    pause=self._stopping.wait,
                    budget=budget_of(self._settings),
                )
                # A daemon, so that the interpreter can exit without `stop`; but it has to end before
                # the interpreter does.
                self._thread = threading.Thread(
                    target=self._drive, args=(self._run,), name="pystack-recorder", daemon=True
                )
                atexit.register(self._end)
                self._thread.start()
            except BaseException:
                atexit.unregister(self._end)
                self._stopping.set()
                self._targets.close()
                self._stop_sampling()
                raise
            self._recording = recording  # Last: now others may stop it.
            return recording

    @property
    def thread_id(self) -> int | None:
        """The system's ID of the background thread, once it was started."""
        return None if self._thread is None else self._thread.native_id

    def join(self, timeout_s: float | None = None) -> bool:
        """Waits until the recording ends by itself, or for `timeout_s` seconds. Returns whether it ended."""
        if self._recording is None:
            raise InvalidArgument("the Recorder was not started", pid=self._pid)
        assert self._thread is not None
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> Recording:
        """Ends the recording and returns it. May be called again. In a callback, it does not wait: the
        recording ends when the callback returns. It does not wait longer than a second for a callback that
        does not return, either.

        Raises a `PystackError` if the recording ended early because sampling failed, and the exception
        of a callback if there was one. What was recorded before is in the recording of `start`.
        """
        if self._recording is None:
            raise InvalidArgument("the Recorder was not started", pid=self._pid)
        self._end()
        if self._error is not None:
            raise self._error
        if self._recording.end_reason == "failed":
            reason = self._recording.error or "unknown reason"
            raise PystackError(f"the recording ended early: {reason}", pid=self._recording.pid)
        return self._recording

    def __enter__(self) -> Recording:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.stop()
        else:
            self._end()  # The exception of the block matters more than that of the recording.

    def _drive(self, run: Run) -> None:
        try:
            driver.drive(
                run, lambda: self._stopping.is_set() or self._stop_requested(), self._on_progress
            )
        except BaseException as error:  # `stop` raises it.
            self._error = error
        finally:
            atexit.unregister(self._end)

    def _end(self) -> None:
        assert self._thread is not None
        if os.getpid() != self._owner:
            return  # A forked child has the recording so far, but not the threads that made it.
        self._stopping.set()
        try:
            # Now, not when the thread notices: the caller's waiting is not to be in the recording.
            self._stop_sampling()
        finally:
            if threading.current_thread() is not self._thread:  # It is in callbacks.
                self._thread.join(_CALLBACK_PATIENCE_S)
                if self._thread.is_alive():  # A callback does not return.
                    assert self._run is not None
                    self._run.end()
                    atexit.unregister(self._end)

    def _stop_sampling(self) -> None:
        assert self._targets is not None
        for recorder in self._targets.recorders:
            recorder.stop()
