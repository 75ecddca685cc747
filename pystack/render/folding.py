"""Shows repetition once: folds repeated frames and groups identical idle threads."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pystack.model import AnyFrame, Gap, Thread

# As in CPython's traceback module: a line is shown three times before repeats are counted.
_SHOWN_REPEATS = 3
# The longest cycle of mutually recursive functions that is folded.
_MAX_PERIOD = 16
_MIN_ROUNDS = 4
# Blocked by one of these, a thread is not idle, even if others look the same.
_LOCKS = ("lock", "mutex", "import_lock")


class Run(NamedTuple):
    """Frames to show, and how often the whole run was repeated after that."""

    frames: Sequence[AnyFrame]
    repeats: int


def fold_frames(frames: Sequence[AnyFrame]) -> Iterator[Run]:
    """Folds direct and mutual recursion.

    As in CPython's tracebacks, frames are equal if function, file and line are.
    """
    ids: dict[Hashable, int] = {}
    keys = [ids.setdefault(_identity(frame), len(ids)) for frame in frames]
    total = len(keys)
    plain = position = 0  # frames[plain:position] are not repeated and not yet yielded
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
    """The shortest period at `start` that repeats often enough, and its number of rounds."""
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
    """Groups idle threads with equal stack and state, at the position of the first of them.

    The thread `special_tid` is never grouped.
    """
    groups: dict[Hashable, list[Thread]] = {}
    for index, thread in enumerate(threads):
        is_special = special_tid is not None and thread.tid == special_tid
        alone = is_special or not is_idle(thread)
        groups.setdefault(index if alone else _likeness(thread), []).append(thread)
    return list(groups.values())


def is_idle(thread: Thread) -> bool:
    """Whether the thread neither runs, nor holds the GIL, nor is kept from running by a lock."""
    if thread.waits_for is not None and thread.waits_for.kind in _LOCKS:
        return False
    return thread.gil not in ("holds", "dropping") and thread.run_state != "R"


def _likeness(thread: Thread) -> Hashable:
    wait = thread.waits_for
    return thread._replace(
        tid=None,
        namespace_tid=None,
        python_thread_id=0,
        name=None,
        kernel_name=None,
        waits_for=wait
        and wait._replace(
            address=None,
            left_ns=None,
            timeout_ns=None,
            fd=None,
            file_count=None,
            target=None,
            pid=None,
            command=None,
            holders=(),
        ),
    )
