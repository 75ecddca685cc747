"""Shows repetition once: folds repeated frames and groups identical threads."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence

from pystack.idle import BLOCKING_KINDS
from pystack.model import AnyFrame, Gap, Thread
from pystack.waits import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from pystack.named_tuple import NamedTuple

# As in CPython's traceback module: a line is shown three times before repeats are counted.
_SHOWN_REPEATS = 3
# The longest cycle of mutually recursive functions that is folded.
_MAX_PERIOD = 16
_MIN_ROUNDS = 4


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


def group_threads(
    threads: Iterable[Thread], special_tids: Collection[int | None] = ()
) -> list[list[Thread]]:
    """Groups threads with equal stack and state, at the position of the first of them.

    Threads that run, or hold the GIL, are not grouped, nor those with one of the `special_tids`.
    Idle threads may wait for different objects; threads that a lock blocks must wait for the same.
    """
    groups: dict[Hashable, list[Thread]] = {}
    for index, thread in enumerate(threads):
        is_special = thread.tid is not None and thread.tid in special_tids
        alone = is_special or _is_at_work(thread)
        groups.setdefault(index if alone else _likeness(thread), []).append(thread)
    return list(groups.values())


def _is_at_work(thread: Thread) -> bool:
    return thread.gil in ("holds", "dropping") or thread.run_state == "R"


def _likeness(thread: Thread) -> Hashable:
    return thread._replace(
        tid=None,
        namespace_tid=None,
        python_thread_id=0,
        name=None,
        kernel_name=None,
        waits_for=thread.waits_for and _wait_likeness(thread.waits_for),
        unmoved=thread.unmoved and thread.unmoved._replace(span_ns=0, cpu_ns=None),
    )


def _wait_likeness(wait: Wait) -> Wait:
    wait = wait._replace(left_ns=None, timeout_ns=None)
    if wait.kind in BLOCKING_KINDS:
        return wait  # which lock it is, and who holds it, matters
    return wait._replace(
        address=None,
        fd=None,
        file_count=None,
        target=None,
        pid=None,
        command=None,
        other_ends=(),
        peer_wait=None,
        process_circle=(),
        kernel_stack=(),
        holders=(),
    )
