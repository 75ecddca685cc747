"""Saying once what would be said many times: repeated frames, and threads that idle alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pystack.model import AnyFrame, Gap, Thread

# As CPython's traceback module: a line is shown three times before it is counted.
_SHOWN_REPEATS = 3
# Calls that go round through several functions: the longest round that is looked for.
_MAX_PERIOD = 16
_MIN_ROUNDS = 4


class Run(NamedTuple):
    """Frames to show, and how often all of them were repeated after that."""

    frames: Sequence[AnyFrame]
    repeats: int


def fold_frames(frames: Sequence[AnyFrame]) -> Iterator[Run]:
    """Folds recursion, also through several functions.

    Frames are the same, as in CPython's tracebacks, when function, file and line are.
    """
    ids: dict[Hashable, int] = {}
    keys = [ids.setdefault(_identity(frame), len(ids)) for frame in frames]
    total = len(keys)
    plain = position = 0  # frames[plain:position] are not repeated and not yet given
    while position < total:
        period, rounds = _repetition(keys, position)
        if rounds == 1:
            position += 1
            continue
        if plain < position:
            yield Run(frames[plain:position], 0)
        shown = period * _SHOWN_REPEATS if period == 1 else period
        yield Run(frames[position : position + shown], rounds - shown // period)
        position += period * rounds
        plain = position
    if plain < total:
        yield Run(frames[plain:], 0)


def _identity(frame: AnyFrame) -> Hashable:
    if isinstance(frame, Gap):
        return frame
    return frame.kind, frame.name, frame.file, frame.line


def _repetition(keys: Sequence[int], start: int) -> tuple[int, int]:
    """The shortest period at `start` that comes round often enough, and how often it does."""
    total = len(keys)
    for period in range(1, _MAX_PERIOD + 1):
        if start + period * _MIN_ROUNDS > total:
            break
        if keys[start] != keys[start + period]:
            continue
        end = start + period
        while end < total and keys[end] == keys[end - period]:
            end += 1
        rounds = (end - start) // period
        if rounds >= _MIN_ROUNDS:
            return period, rounds
    return 1, 1


def group_threads(threads: Iterable[Thread], special_tid: int | None = None) -> list[list[Thread]]:
    """Idle threads with the same stack in the same state come together, where the first stands.

    The thread `special_tid` stays alone.
    """
    groups: dict[Hashable, list[Thread]] = {}
    for index, thread in enumerate(threads):
        is_special = special_tid is not None and thread.tid == special_tid
        alone = is_special or not is_idle(thread)
        groups.setdefault(index if alone else _likeness(thread), []).append(thread)
    return list(groups.values())


def is_idle(thread: Thread) -> bool:
    """Whether it neither runs nor holds what others wait for."""
    return thread.gil not in ("holds", "dropping") and thread.run_state != "R"


def _likeness(thread: Thread) -> Hashable:
    return thread._replace(
        tid=None, namespace_tid=None, python_thread_id=0, name=None, kernel_name=None
    )
