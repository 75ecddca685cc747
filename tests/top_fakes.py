"""Frames of `pystack top` without a process."""

from __future__ import annotations

from profiler_fakes import BatchWriter, stats
from pystack_profiler.profile import ProcessFacts, Profile, Recording
from pystack_profiler.top.live import LiveView
from pystack_profiler.top.model import Frame as TopFrame
from pystack_profiler.top.selection import Selection
from pystack_profiler.top.slices import SliceLog

S = 1_000_000_000


class FakeRun:
    """A recording that the test feeds by hand."""

    def __init__(self, *, native: bool = False, rate_hz: float = 100.0) -> None:
        self.recording = Recording(
            pid=100, command=("python", "app.py"), rate_hz=rate_hz, native=native, began_ns=1
        )
        self.log = SliceLog()
        self.view = LiveView(self.log, self.recording)
        self._profiles: dict[int, Profile] = {}

    def feed(
        self,
        writer: BatchWriter,
        elapsed_ns: int,
        *,
        pid: int = 100,
        command: tuple[str, ...] = ("python", "app.py"),
        **counts: int | list[int],
    ) -> Profile:
        """What was written since the last call."""
        profile = self._profiles.get(pid)
        if profile is None:
            profile = Profile(ProcessFacts(pid=pid, command=command, python_version="3.13.5"))
            self._profiles[pid] = profile
            self.recording.profiles = list(self._profiles.values())
        batch = writer.batch()
        batch.stats = stats(elapsed_ns=elapsed_ns, **counts)
        profile.append(batch)
        self.log.append(profile, batch)
        return profile

    def look(self, selection: Selection | None = None) -> TopFrame:
        return self.view.look(selection or Selection(mode="wall"))
