"""`diff` and `merge`: what chance explains is no change, and what is slower is found."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from drawn_runs import drawn_run
from profiler_fakes import MS, BatchWriter, recording_of
from pystack.errors import InvalidArgument
from pystack_profiler import exporters, function_totals
from pystack_profiler.compare_cli import diff, merge
from pystack_profiler.comparison import (
    Comparison,
    FunctionKey,
    compare,
    comparison_text,
    parse_condition,
)
from pystack_profiler.convert_cli import convert
from pystack_profiler.profile import Recording
from pystack_profiler.recording_file import load
from pystack_profiler.sinks import FileSink
from pystack_profiler.view import View
from random_recordings import random_recording


def changed(comparison: Comparison) -> set[str]:
    return {one.key.function for one in comparison.functions if one.is_significant}


@pytest.mark.parametrize("phases", [False, True])
def test_two_runs_of_a_program_do_not_differ(phases: bool) -> None:
    found = [
        changed(
            compare(
                [drawn_run(2 * n, phases=phases)], [drawn_run(2 * n + 1, phases=phases)], View()
            )
        )
        for n in range(20)
    ]
    assert sum(bool(names) for names in found) <= 2  # 5 of 100


def test_a_slower_function_is_found() -> None:
    for n in range(3):
        # A tenth more of a fifth.
        before = [drawn_run(1000 + 10 * n + run, ticks=30_000) for run in range(2)]
        after = [drawn_run(2000 + 10 * n + run, ticks=30_000, slower=1.1) for run in range(2)]
        comparison = compare(before, after, View())
        assert "f0" in changed(comparison)
        (row,) = [one for one in comparison.functions if one.key.function == "f0"]
        share = 0.22 / 1.02
        assert row.self_change.after == pytest.approx(share, abs=0.01)
        assert abs(row.self_change.points - (share - 0.2)) < row.self_change.margin


def test_runs_that_differ_by_themselves_are_not_a_change() -> None:
    """Within a run it looks sure; between runs it is not."""

    def run(seed: int) -> Recording:
        return drawn_run(seed, slower=random.Random(seed).uniform(0.5, 2.0))

    for n in range(4):
        before = [run(100 * n + number) for number in range(6)]
        after = [run(100 * n + 50 + number) for number in range(6)]
        assert "f0" not in changed(compare(before, after, View()))


def test_nothing_on_one_side() -> None:
    empty = recording_of(BatchWriter())
    comparison = compare([empty], [drawn_run(1, ticks=500)], View())
    assert comparison_text(comparison, 5)
    assert not compare([empty], [empty], View()).functions
    assert json.loads(json.dumps(comparison.to_json()))["samples"] == [0, 500]


def saved(recordings: Sequence[Recording], folder: Path) -> list[str]:
    paths = [str(folder / f"{number}.pystack") for number in range(len(recordings))]
    for path, recording in zip(paths, recordings, strict=True):
        FileSink(path, exporters.PYSTACK).write(recording)
    return paths


def test_conditions_decide_the_exit_status(tmp_path: Path) -> None:
    before, after = saved(
        [drawn_run(1, ticks=8000), drawn_run(2, ticks=8000, slower=3.0)], tmp_path
    )

    def run(*conditions: str) -> Result:
        flags = [part for text in conditions for part in ("--fail-if", text)]
        return CliRunner().invoke(diff, [before, after, *flags])

    assert run().exit_code == 0
    assert "f0 (app.py)" in run().stdout
    assert run("f0:self>+5pp").exit_code == 1
    assert run("f0:self>+50pp").exit_code == 0
    assert run("f0:total>+20%").exit_code == 1
    assert run("f1:self<-0.1pp", "f0:self>+50pp").exit_code == 1
    assert run("total>+5%").exit_code == 0  # as long
    assert "failed: f0:self>+5pp" in run("f0:self>+5pp").stderr
    with pytest.raises(InvalidArgument, match="named nothing"):
        raise run("nothing:self>+1pp").exception or AssertionError
    document = CliRunner().invoke(diff, [before, after, "--json"]).stdout
    assert json.loads(document)["functions"][0]["function"] == "f0"


def test_the_whole_programs_time() -> None:
    comparison = compare([drawn_run(1, ticks=1000)], [drawn_run(2, ticks=1100)], View())
    assert parse_condition("total>+5%").is_met(comparison)
    assert not parse_condition("total > +11%").is_met(comparison)
    assert not parse_condition("total<-5%").is_met(comparison)


@pytest.mark.parametrize("text", ["", "total", "self>+5%", "total>5pp", "f:self>x%", "f:own>+1%"])
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_condition(text)


def test_a_merged_file_has_the_processes_of_all(tmp_path: Path) -> None:
    recordings = [random_recording(seed) for seed in (1, 2, 3)]
    recordings[1].start_time_ns = recordings[0].start_time_ns + 10**15  # at another time
    paths = saved(recordings, tmp_path)
    done = CliRunner().invoke(merge, [*paths, "-o", str(tmp_path / "all.pystack")])
    assert done.exit_code == 0, done.output
    merged = load(str(tmp_path / "all.pystack"))
    assert len(merged.profiles) == 3
    assert merged.duration_ns <= max(one.duration_ns for one in recordings)
    sums: dict[str, int] = {}
    for recording in recordings:
        for total in function_totals(recording):
            sums[total.label.name] = sums.get(total.label.name, 0) + total.total_ns
    assert {one.label.name: one.total_ns for one in function_totals(merged)} == sums
    assert merged.stats["taken"] == sum(one.stats["taken"] for one in recordings)


def test_a_file_counts_once_and_is_not_replaced(tmp_path: Path) -> None:
    path, other = saved([random_recording(1), random_recording(2)], tmp_path)
    content = Path(path).read_bytes()
    link, second_name = tmp_path / "link.pystack", tmp_path / "name.pystack"
    link.symlink_to(path)
    second_name.hardlink_to(path)
    output = str(tmp_path / "all.pystack")
    for same in (path, str(link), str(second_name)):
        for command, arguments, words in (
            (merge, [path, other, same, "-o", output], "counts once"),
            (merge, [path, other, "-o", same], "the recording that is read"),
            (convert, [path, "-o", same], "the recording that is read"),
            (diff, [path, other, "--also-before", same], "counts once"),
        ):
            refused = CliRunner().invoke(command, arguments).exception
            assert isinstance(refused, InvalidArgument)
            assert words in str(refused)
    assert Path(path).read_bytes() == content
    assert not Path(output).exists()


def test_recordings_of_the_same_time_keep_their_distance(tmp_path: Path) -> None:
    recordings = [drawn_run(1, ticks=1000), drawn_run(2, ticks=1000)]
    recordings[1].start_time_ns = recordings[0].start_time_ns + 300 * MS
    paths = saved(recordings, tmp_path)
    CliRunner().invoke(merge, [*paths, "-o", str(tmp_path / "all.pystack")])
    merged = load(str(tmp_path / "all.pystack"))
    first, second = (profile.tracks[0].start_ns for profile in merged.profiles)
    assert second - first == 300 * MS
    assert 1299 * MS <= merged.duration_ns <= 1300 * MS


def page_data(path: Path) -> dict[str, Any]:
    (text,) = re.findall(r'id="recording">(.*?)</script>', path.read_text(), re.DOTALL)
    data: dict[str, Any] = json.loads(text)
    return data


def test_a_differential_flame_graph_has_both_sides(tmp_path: Path) -> None:
    runs = [drawn_run(seed, ticks=500) for seed in (1, 2, 3)]
    paths = saved(runs, tmp_path)
    page = tmp_path / "diff.html"
    arguments = [paths[0], paths[1], "--also-after", paths[2], "-o", str(page)]
    done = CliRunner().invoke(diff, arguments)
    assert done.exit_code == 0
    assert done.stdout  # the table
    assert done.stderr.endswith("diff.html: differential flame graph; open it in a browser\n")
    assert page.stat().st_mode & 0o777 == 0o600
    data = page_data(page)
    assert data["sides"] == [
        {"title": "0.pystack", "samples": 500},
        {"title": "1.pystack, 2.pystack", "samples": 1000},
    ]
    assert [thread["side"] for thread in data["threads"]] == [0, 1, 1]
    assert not data["initial"]["threads"]
    sums = [0, 0]
    for thread in data["threads"]:
        sums[thread["side"]] += sum(thread["wall"])
    known = [
        sum(total.self_ns for run in side for total in function_totals(run))
        for side in (runs[:1], runs[1:])
    ]
    assert sums == [pytest.approx(known_ns / 1000, rel=0.001) for known_ns in known]


def test_where_a_differential_flame_graph_goes(tmp_path: Path) -> None:
    paths = saved([drawn_run(1, ticks=50), drawn_run(2, ticks=50)], tmp_path)
    done = CliRunner().invoke(diff, [*paths, "-o", "-"])
    assert done.stdout.startswith("<!DOCTYPE html>")
    for name in ("x.svg", "x"):
        done = CliRunner().invoke(diff, [*paths, "-o", str(tmp_path / name)])
        assert done.exit_code == 2
        assert "end '" in done.stderr
    done = CliRunner().invoke(diff, [*paths, "-o", str(tmp_path / "no" / "x.html")])
    assert done.exit_code == 1
    assert "cannot write" in done.stderr


def test_the_page_is_as_sure_as_the_table(tmp_path: Path) -> None:
    """The margin of a box of a function that has one caller is that of its row."""
    runs = [drawn_run(1, phases=True), drawn_run(2, phases=True)]
    comparison = compare(runs[:1], runs[1:], View())
    chance = comparison.chance()
    assert comparison.functions
    for row in comparison.functions:
        change = row.total_change
        shares = (change.before, change.after)
        counts = zip(shares, comparison.samples, strict=True)
        independent = 1.96 * sqrt(sum(share * (1 - share) / count for share, count in counts))
        margin = chance(row.key) * independent
        assert margin >= independent
        assert margin == pytest.approx(max(change.margin, independent))
    assert chance(FunctionKey("no row", "")) >= 1
    empty = compare([recording_of(BatchWriter())], runs[1:], View())
    assert empty.chance()(FunctionKey("f0", "/srv/app.py")) >= 1


def test_a_recording_without_samples_passes_no_condition(tmp_path: Path) -> None:
    before, empty = saved([drawn_run(1), recording_of()], tmp_path)
    for paths in ((before, empty), (empty, before), (empty, empty)):
        done = CliRunner().invoke(diff, [*paths, "--fail-if", "total>+5%"])
        assert isinstance(done.exception, InvalidArgument)
        assert "has no samples" in str(done.exception)
