from typing import Any

from pystack.model import AnyFrame, Frame, Gap, NativeFrame, Snapshot, Thread
from pystack.render.folding import fold_frames, group_threads
from raw_snapshots import raw_frame, raw_gap, raw_native_frame, raw_snapshot, raw_thread


def frames(names: str) -> list[Frame]:
    return [Frame(**raw_frame(name)) for name in names]


def name_of(frame: AnyFrame) -> str:
    assert isinstance(frame, Frame)
    return frame.function


def fold(names: str) -> list[tuple[str, int]]:
    runs = fold_frames(frames(names))
    return [("".join(map(name_of, run.frames)), run.repeats) for run in runs]


def test_nothing_to_fold() -> None:
    assert fold("") == []
    assert fold("abcabc") == [("abcabc", 0)]
    assert fold("abbbc") == [("abbbc", 0)]


def test_recursion() -> None:
    assert fold("abbbbc") == [("a", 0), ("bbb", 1), ("c", 0)]
    assert fold("b" * 100) == [("bbb", 97)]


def test_recursion_through_several_functions() -> None:
    assert fold("x" + "abc" * 5 + "ay") == [("x", 0), ("abc", 4), ("ay", 0)]
    assert fold("abab" * 2) == [("ab", 3)]


def test_the_line_counts_and_the_column_does_not() -> None:
    same = [Frame(**raw_frame(column=column, end_column=9)) for column in range(8)]
    assert [(len(run.frames), run.repeats) for run in fold_frames(same)] == [(3, 5)]
    other = [Frame(**raw_frame(line=line)) for line in range(8)]
    assert [(len(run.frames), run.repeats) for run in fold_frames(other)] == [(8, 0)]


def test_folding_loses_no_frame() -> None:
    for names in (
        "aabbaabbaabbaabb",
        "abcabcabcabcabd" * 9,
        "aaaab" * 7 + "c",
        "ab" * 50 + "a" * 50,
    ):
        runs = list(fold_frames(frames(names)))
        unfolded = ""
        for run in runs:
            shown = "".join(map(name_of, run.frames))
            period = shown if len(set(shown)) > 1 or not run.repeats else shown[0]
            unfolded += shown + period * run.repeats
        assert unfolded == names


def test_hundred_thousand_frames_fold_at_once() -> None:
    assert fold("f" * 100_000) == [("fff", 99_997)]
    assert fold("fgh" * 33_333) == [("fgh", 33_332)]


def test_native_frames_and_gaps_are_folded_too() -> None:
    sort = NativeFrame(**raw_native_frame("list_sort"))
    key = Frame(**raw_frame("list_sort", 7, file="src/compute.c"))
    once: list[AnyFrame] = [sort, key]
    stack = [*once * 10, *[Gap(**raw_gap())] * 2]
    runs = list(fold_frames(stack))
    assert [(len(run.frames), run.repeats) for run in runs] == [(2, 9), (2, 0)]


def group(*raw: dict[str, Any]) -> list[list[int | None]]:
    threads = Snapshot.from_raw(raw_snapshot(*raw)).threads
    return [[thread.tid for thread in group] for group in group_threads(threads)]


def test_idle_threads_with_one_stack_are_grouped_at_the_first() -> None:
    other = [raw_frame("other")]
    assert group(
        raw_thread(1), raw_thread(2, frames=other), raw_thread(3), raw_thread(4, gil="waits")
    ) == [[1, 3], [2], [4]]


def test_waiters_are_grouped() -> None:
    assert group(raw_thread(1, gil="waits"), raw_thread(2, gil="waits")) == [[1, 2]]


def test_threads_at_work_are_not_grouped() -> None:
    assert group(raw_thread(1, run_state="R"), raw_thread(2, run_state="R")) == [[1], [2]]
    assert group(raw_thread(1, gil="holds"), raw_thread(2, gil="holds")) == [[1], [2]]


def test_what_they_do_must_be_the_same() -> None:
    assert group(raw_thread(1), raw_thread(2, handling="KeyError")) == [[1], [2]]
    assert group(raw_thread(1), raw_thread(2, interpreter_id=1)) == [[1], [2]]
    assert isinstance(Snapshot.from_raw(raw_snapshot()).threads[0], Thread)
