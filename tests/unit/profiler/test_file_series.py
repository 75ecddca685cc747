from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler_fakes import BusySampler
from pystack_profiler import exporters, page_file
from pystack_profiler.aggregate import function_totals
from pystack_profiler.destination import Destination
from pystack_profiler.driver import OneProcess, Progress, new_recording, record_targets
from pystack_profiler.file_series import FileSeries
from pystack_profiler.process_recorder import ProcessRecorder
from pystack_profiler.profile import Recording
from pystack_profiler.recording_file import load
from pystack_profiler.settings import Settings
from pystack_profiler.view import DEFAULT_VIEW

THREADS, RATE_HZ = 4, 10
SAMPLES_A_SECOND = THREADS * RATE_HZ


def record_series(
    folder: Path,
    sampler: BusySampler,
    *,
    every_s: float = 60,
    max_files: int | None = None,
    format: exporters.Format = exporters.PYSTACK,
    on_progress: Callable[[Progress], None] = lambda _: None,
    status: int = 0,
) -> list[str]:
    """What it said of all files but the last."""
    said: list[str] = []
    recording = new_recording(os.getpid(), Settings())
    destination = Destination(
        str(folder / f"prof-%t{format.suffixes[0]}"), format, DEFAULT_VIEW, verbosity=0
    )
    series = FileSeries(destination, every_s, max_files, say=said.append, clock=sampler.now_s)
    targets = OneProcess(ProcessRecorder(sampler, os.getpid()))
    with series.growing(recording) as log:
        record_targets(targets, recording, on_progress=on_progress, log=log, rotation=series)
        assert series.save(recording) == status
    return said


def loaded(folder: Path) -> list[Recording]:
    return [load(str(path)) for path in sorted(folder.glob("prof-*.pystack"))]


def test_the_files_add_up_to_the_whole_and_stand_by_themselves(tmp_path: Path) -> None:
    sampler = BusySampler(200, threads=THREADS, rate_hz=RATE_HZ)
    said = record_series(tmp_path, sampler)
    files = loaded(tmp_path)
    assert [one.sample_count for one in files] == [
        60 * SAMPLES_A_SECOND,
        60 * SAMPLES_A_SECOND,
        60 * SAMPLES_A_SECOND,
        20 * SAMPLES_A_SECOND,
    ]
    assert sum(one.stats["taken"] for one in files) == sampler.taken
    assert [one.end_reason for one in files] == [*["continued"] * 3, "target_exited"]
    names: Counter[str] = Counter()
    for one in files:
        (profile,) = one.profiles
        assert len(profile.tracks) == THREADS
        assert {track.identity.name for track in profile.tracks} == {
            f"worker-{number}" for number in range(THREADS)
        }
        # Tables are those of the stretch: as many functions as in a second, 60 times, and no more.
        assert len(profile.tables.frame_function) <= 60 * SAMPLES_A_SECOND + 1 + THREADS
        names.update(total.label.function for total in function_totals(one))
    assert names["main"] == 4
    assert names["f1_0"] == 1
    assert names["f200_0"] == 1
    ends = [max(track.end_ns for track in one.profiles[0].tracks) for one in files]
    begins = [min(track.start_ns for track in one.profiles[0].tracks) for one in files]
    bases = [one.start_time_ns - one.began_ns for one in files]
    # No time is between two files.
    for index in range(3):
        assert ends[index] + bases[index] == begins[index + 1] + bases[index + 1]
    assert len(said) == 3
    assert "60.0 s, 2,400 samples, none lost" in said[0]


def test_every_format_can_be_divided(tmp_path: Path) -> None:
    sampler = BusySampler(5, threads=2, rate_hz=RATE_HZ)
    record_series(tmp_path, sampler, every_s=2, format=exporters.HTML)
    pages = sorted(tmp_path.glob("prof-*.html"))
    assert len(pages) == 3
    samples = [page_file.load_page(str(page)).recording.sample_count for page in pages]
    assert samples == [40, 40, 20]


def test_only_own_unchanged_files_are_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "prof-20000101T000000Z.pystack"
    foreign.write_text("of another recording")
    seen: list[Path] = []

    def change_first(_: Progress) -> None:
        new = sorted(set(tmp_path.glob("prof-2*.pystack")) - {foreign})
        if len(new) == 3 and not seen:
            seen.extend(new)
            new[0].write_text("mine now")
            (tmp_path / "elsewhere").write_text("precious")
            new[1].unlink()
            new[1].symlink_to(tmp_path / "elsewhere")

    said = record_series(
        tmp_path,
        BusySampler(70, threads=1, rate_hz=RATE_HZ),
        every_s=10,
        max_files=3,
        on_progress=change_first,
    )
    left = sorted(tmp_path.glob("prof-2*.pystack"))
    assert foreign.read_text() == "of another recording"
    assert seen[0].read_text() == "mine now"
    assert seen[1].is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "precious"
    # The first two count no more; the newest are there.
    assert len([path for path in left if path not in (foreign, *seen[:2])]) == 3
    assert any(f"{seen[0]} is kept: somebody has changed it" in line for line in said)


def test_a_file_that_cannot_be_written_does_not_end_the_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    times = 0

    def fill(_: Progress) -> None:
        nonlocal times
        times += 1
        if times == 25:  # in the third file
            folder.rename(tmp_path / "gone")
            folder.mkdir()

    record_series(
        folder, BusySampler(50, threads=1, rate_hz=RATE_HZ), every_s=10, on_progress=fill, status=1
    )
    files = loaded(folder) + loaded(tmp_path / "gone")
    assert sum(one.sample_count for one in files) >= 40 * RATE_HZ
