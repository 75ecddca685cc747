"""The part of a recording that is read from a file."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf

from ..track import ThreadIdentity


@dataclass(frozen=True, slots=True)
class Selection:
    """A stretch of time, in seconds from the begin of the recording, and threads by name or ID."""

    from_s: float = 0.0
    to_s: float = inf
    threads: tuple[str, ...] = ()  # names, patterns such as `worker-*`, or thread IDs; (): all

    @property
    def is_all_time(self) -> bool:
        return self.from_s <= 0 and self.to_s == inf

    @property
    def from_ns(self) -> int | None:
        return None if self.from_s <= 0 else int(self.from_s * 1e9)

    @property
    def to_ns(self) -> int | None:
        return None if self.to_s == inf else int(self.to_s * 1e9)

    def has_thread(self, identity: ThreadIdentity) -> bool:
        return not self.threads or any(
            wanted == str(identity.tid) or fnmatchcase(identity.name, wanted)
            for wanted in self.threads
        )


EVERYTHING = Selection()
