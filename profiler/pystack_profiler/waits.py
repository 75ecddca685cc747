"""What the threads of a recording waited for, and who held it meanwhile. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pystack.sampling import WAIT_KINDS, SampleState

from .profile import Profile, Recording
from .track import Run, ThreadIdentity, Track
from .view import time_in_mode
from .wait_words import row_reason, wait_reason

#: The kinds of waits that end when a thread releases something.
LOCKS = ("gil", "lock", "mutex", "import_lock")


@dataclass(slots=True)
class ReasonTotal:
    """Something that was waited for, whoever held it, and the time of all threads that did."""

    kind: str  # one of `pystack.waits.WaitKind`
    text: str
    time_ns: int = 0
    samples: int = 0
    threads: set[Track] = field(default_factory=set)


@dataclass(slots=True)
class HolderTotal:
    """A thread that others waited for because of one thing: the time of all of them together."""

    holder: ThreadIdentity
    kind: str
    text: str
    time_ns: int = 0


@dataclass(frozen=True, slots=True)
class WaitTotals:
    """All waits of a recording, the longest time first."""

    waited_ns: int
    unknown_ns: int  # of that: it is not known for what
    reasons: list[ReasonTotal]
    holders: list[HolderTotal]


def waits_for_locks(profile: Profile) -> bool:
    """Whether a thread was seen to wait for a lock that is not the GIL. Looks at no sample."""
    kinds = profile.tables.wait_kind[1:]  # row 0 says that it is not known
    return any(WAIT_KINDS[kind] in LOCKS and WAIT_KINDS[kind] != "gil" for kind in set(kinds))


def wait_totals(recording: Recording) -> WaitTotals:
    reasons: dict[tuple[str, str], ReasonTotal] = {}
    holders: dict[tuple[ThreadIdentity, str, str], HolderTotal] = {}
    waited_ns = unknown_ns = 0
    for profile in recording.profiles:
        texts = _Texts(profile)
        for track in profile.tracks:
            for run in track.runs():
                time_ns = time_in_mode("waits", run)
                if not time_ns or not run.samples:
                    continue
                waited_ns += time_ns
                named = texts.of(run)
                if named is None:
                    unknown_ns += time_ns
                    continue
                reason = reasons.setdefault(named, ReasonTotal(*named))
                reason.time_ns += time_ns
                reason.samples += run.samples
                reason.threads.add(track)
                who = texts.holder_of(run)
                if who is not None:
                    held = holders.setdefault((who, *named), HolderTotal(who, *named))
                    held.time_ns += time_ns
    return WaitTotals(
        waited_ns,
        unknown_ns,
        sorted(reasons.values(), key=lambda one: (-one.time_ns, one.text)),
        sorted(holders.values(), key=lambda one: (-one.time_ns, one.text, one.holder.tid)),
    )


def lock_blame(profile: Profile) -> dict[tuple[Track, int], int]:
    """The time that others waited for something that a thread held in a stack, as `Contention.blamed_ns`
    for the GIL. Right if the order of the samples is known."""
    waits: dict[int, list[Run]] = {}
    holders = profile.tables.wait_holder
    for track in profile.tracks:
        for run in track.runs():
            if run.wait and holders[run.wait] and _kind(profile, run.wait) in LOCKS:
                waits.setdefault(holders[run.wait] - 1, []).append(run)
    blamed_ns: dict[tuple[Track, int], int] = {}
    for track, number in profile.window.numbers.items():
        waiting = _Waiting(waits[number]) if number in waits else None
        for run in track.runs() if waiting else ():
            time_ns = waiting.time_ns(run.start_ns, run.start_ns + run.weight_ns) if waiting else 0
            if time_ns:
                blamed_ns[track, run.stack] = blamed_ns.get((track, run.stack), 0) + time_ns
    return blamed_ns


class _Waiting:
    """How many threads wait at each time. It is asked about later and later stretches of time."""

    def __init__(self, runs: Iterable[Run]) -> None:
        changes: dict[int, int] = {}
        for run in runs:
            end_ns = run.start_ns + run.weight_ns
            changes[run.start_ns] = changes.get(run.start_ns, 0) + 1
            changes[end_ns] = changes.get(end_ns, 0) - 1
        self._changes = iter(sorted(changes.items()))
        self._next = next(self._changes, None)
        self._count = 0

    def time_ns(self, begin_ns: int, end_ns: int) -> int:
        sum_ns, at_ns = 0, begin_ns
        while self._next is not None and self._next[0] < end_ns:
            time_ns, change = self._next
            if time_ns > at_ns:
                sum_ns += self._count * (time_ns - at_ns)
                at_ns = time_ns
            self._count += change
            self._next = next(self._changes, None)
        return sum_ns + self._count * (end_ns - at_ns)


class _Texts:
    """The texts of one process, each made once."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._known: dict[int, tuple[str, str]] = {}

    def of(self, run: Run) -> tuple[str, str] | None:
        """The kind, and what was waited for. None: not known."""
        if not run.wait:
            return ("gil", wait_reason("gil")) if run.state & SampleState.WAITS_FOR_GIL else None
        if run.wait not in self._known:
            reason = row_reason(self._profile.tables, run.wait)
            self._known[run.wait] = _kind(self._profile, run.wait), reason
        return self._known[run.wait]

    def holder_of(self, run: Run) -> ThreadIdentity | None:
        holder = self._profile.tables.wait_holder[run.wait] if run.wait else 0
        return self._profile.identity_of(holder - 1) if holder else None


def _kind(profile: Profile, wait: int) -> str:
    return WAIT_KINDS[profile.tables.wait_kind[wait]]
