from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from pystack.model import Snapshot, Unmoved, Watched
from pystack.progress import ProgressWatch
from pystack.render.text import render_text
from raw_snapshots import raw_frame, raw_snapshot, raw_thread

SECOND = 1_000_000_000


def watch(*rounds: list[Any], runs_ns: int = 0) -> Iterator[Snapshot]:
    """A dump a second; between two of them, each thread runs for `runs_ns`."""
    times = itertools.count()
    threads = iter(rounds)
    readings = itertools.count(0, runs_ns) if runs_ns else itertools.repeat(0)

    def dump() -> Snapshot:
        raw = raw_snapshot(*next(threads))
        return Snapshot.from_raw(raw)._replace(time_ns=next(times) * SECOND)

    watched = ProgressWatch(
        dump, lambda _, tid: None if tid == 99 else next(readings), lambda *_: "S"
    )
    for _ in rounds:
        yield watched.look()


def at(line: int, tid: int = 1, **fields: Any) -> Any:
    return raw_thread(tid=tid, frames=[raw_frame(line=line)], **fields)


def test_what_moves_is_told_from_what_does_not() -> None:
    first, second, third = watch([at(1, 1), at(1, 2)], [at(1, 1), at(2, 2)], [at(1, 1), at(2, 2)])
    assert first.watched == Watched(1, 0)
    assert [thread.unmoved for thread in first.threads] == [None, None]
    assert [thread.unmoved for thread in second.threads] == [Unmoved(2, SECOND, 0), None]
    assert [one.unmoved for one in third.threads] == [
        Unmoved(3, 2 * SECOND, 0),
        Unmoved(2, SECOND, 0),
    ]
    text = [*render_text(third)]
    assert text[1] == "Watched for 2.0 s (3 dumps): 1 thread made no progress, 1 moved."
    assert "no progress in 2.0 s" in text[3]


def test_a_thread_that_runs_may_come_back_to_the_same_place() -> None:
    *_, last = watch([at(1)], [at(1)], [at(1)], runs_ns=5_000_000)
    assert last.threads[0].unmoved == Unmoved(3, 2 * SECOND, 10_000_000)
    text = [*render_text(last)]
    assert "1 thread ran, but stood at the same place each time" in text[1]
    assert "same place in 3 dumps over 2.0 s, ran for 10 ms meanwhile" in text[3]


def test_a_time_that_cannot_be_read_is_unknown() -> None:
    *_, last = watch([at(1, 99)], [at(1, 99)])
    assert last.threads[0].unmoved == Unmoved(2, SECOND, None)
    assert "same place in 2 dumps" in [*render_text(last)][3]


def test_a_stack_that_is_not_known_is_not_compared() -> None:
    torn = at(1, stack_end="torn", stack_problem="...")
    *_, last = watch([torn], [torn])
    assert last.threads[0].unmoved is None
