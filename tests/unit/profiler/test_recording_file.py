"""The recording file: what is read is what was recorded, whatever the disk, the killer or the enemy did."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from exported import exported
from profiler_fakes import MS, BatchWriter, FakeSampler, Frame, recording_of
from pystack.errors import InvalidArgument
from pystack.sampling import NO_INTERPRETER, FrameKind, SampleState
from pystack_profiler import exporters, thread_totals
from pystack_profiler.convert_cli import convert
from pystack_profiler.driver import OneProcess, new_recording, record_targets
from pystack_profiler.process_recorder import ProcessRecorder
from pystack_profiler.profile import Recording
from pystack_profiler.recording_file import (
    BadRecordingFile,
    LiveFile,
    Selection,
    is_recording_file,
    load,
)
from pystack_profiler.recording_file import export as export_file
from pystack_profiler.report import overview
from pystack_profiler.report_cli import report
from pystack_profiler.settings import Settings
from pystack_profiler.sinks import FileSink
from pystack_profiler.view import MODES, View
from random_recordings import random_recording

TESTS = Path(__file__).parents[2]


def saved(recording: Recording, folder: Path) -> str:
    path = folder / "x.pystack"
    FileSink(str(path), exporters.PYSTACK).write(recording)
    return str(path)


def reports(recording: Recording) -> list[Any]:
    """What needs no order of samples."""
    views = [View(mode, granularity) for mode in MODES for granularity in ("function", "line")]
    return [overview(recording, view, 50).to_json() for view in views]


def sampled(*batches: Any, **counts: Any) -> tuple[Recording, Callable[[LiveFile], None]]:
    """A recording by a sampler that has these batches, and what lets a file grow with it."""
    recording = new_recording(os.getpid(), Settings())

    def record(live: LiveFile) -> None:
        sampler = FakeSampler(batches, ends="target_exited", **counts)
        targets = OneProcess(ProcessRecorder(sampler, os.getpid()))
        record_targets(targets, recording, on_progress=lambda _: live.update(recording), log=live)
        live.close(recording)

    return recording, record


@pytest.mark.parametrize("seed", range(6))
def test_all_formats_are_the_same_after_the_file(seed: int, tmp_path: Path) -> None:
    recording = random_recording(seed, processes=1 + seed % 3)
    path = saved(recording, tmp_path)
    loaded = load(path)
    assert exported(loaded) == exported(recording)
    assert reports(load(path, in_order=False)) == reports(recording)
    again = io.BytesIO()
    export_file(loaded, again)
    (tmp_path / "again.pystack").write_bytes(again.getvalue())
    assert exported(load(str(tmp_path / "again.pystack"))) == exported(recording)


@pytest.mark.parametrize("seed", range(4))
def test_a_file_that_grew_is_the_recording(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    writer = BatchWriter()
    threads = [writer.thread(10 + number, f"t{number}") for number in range(3)]
    batches, time_ns = [], 10**15
    for _ in range(20):
        for _ in range(chance.randrange(30)):
            time_ns += MS
            frames = [Frame(f"f{chance.randrange(9)}") for _ in range(chance.randrange(5))]
            state = chance.randrange(64)
            writer.sample(chance.choice(threads), time_ns, MS, frames, state)
        if chance.random() < 0.3:
            writer.late_cpu(chance.choice(threads), chance.randrange(MS), chance.randrange(MS))
        batches.append(writer.batch())
    path = tmp_path / "x.pystack"
    recording, record = sampled(*batches, attempted=9, taken=7, torn=2, stops=[1, 0, 5])
    record(LiveFile(str(path), recording))
    loaded = load(str(path))
    assert exported(loaded) == exported(recording)
    assert thread_totals(loaded) == thread_totals(recording)
    assert loaded.stats == recording.stats
    assert reports(load(str(path), in_order=False)) == reports(recording)
    assert [*tmp_path.iterdir()] == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_strange_names_and_numbers(tmp_path: Path) -> None:
    writer = BatchWriter()
    name = "\x1b[31m\0\n\u202e\udc80" + "x" * 100_000
    thread = writer.thread(2**31, name, interpreter_id=NO_INTERPRETER)
    native = Frame(
        "\udcff", "\0", -1, -1, FrameKind.NATIVE, "/lib/\udc80.so", "ab", 2**64 - 1, 255, 4
    )
    writer.sample(thread, 2**61, 2**60, [native, Frame(name)], cpu_ns=2**60, count=2**31)
    recording = recording_of(writer, start_ns=2**60, end_ns=2**61)
    recording.command = recording.profiles[0].process.command = ("a\udc80", "\x1b")
    recording.error = recording.profiles[0].process.error = "no\udc80"
    loaded = load(saved(recording, tmp_path))
    assert exported(loaded) == exported(recording)
    (profile,) = loaded.profiles
    assert profile.tracks[0].identity == recording.profiles[0].tracks[0].identity
    assert profile.tables.frame_address[0] == 2**64 - 1
    assert profile.process == recording.profiles[0].process
    assert loaded.command == recording.command


def test_an_empty_recording(tmp_path: Path) -> None:
    recording = recording_of(BatchWriter())
    assert exported(load(saved(recording, tmp_path))) == exported(recording)


def test_a_part_of_the_time_and_of_the_threads(tmp_path: Path) -> None:
    writer = BatchWriter()
    first, second = writer.thread(1, "main"), writer.thread(2, "worker-1")
    on_cpu = SampleState.ON_CPU | SampleState.CPU_KNOWN
    for tick in range(1, 11):
        writer.sample(first, (100 + tick) * 1000 * MS, 1000 * MS, [Frame(f"f{tick}")], on_cpu)
        writer.sample(second, (100 + tick) * 1000 * MS, 1000 * MS, [Frame("g")], count=10)
    recording = recording_of(writer, start_ns=10**11, end_ns=11 * 10**10)
    path = saved(recording, tmp_path)
    part = load(path, Selection(2.5, 4.0))
    runs = {track.identity.name: [*track.runs()] for _, track in part.tracks()}
    assert [(run.weight_ns, run.cpu_ns) for run in runs["main"]] == [
        (500 * MS, 500 * MS),
        (1000 * MS, 1000 * MS),
    ]
    assert [(run.weight_ns, run.samples) for run in runs["worker-1"]] == [(1500 * MS, 15)]
    assert part.duration_ns == 1500 * MS
    assert part.start_time_ns == recording.start_time_ns + 2500 * MS
    for names in (("worker-*",), ("2",)):
        selected = load(path, Selection(threads=names))
        assert [track.identity.name for _, track in selected.tracks()] == ["worker-1"]
    assert not [*load(path, Selection(20.0, 30.0)).tracks()]


def test_a_part_without_a_begin_has_what_was_before_the_first_moment(tmp_path: Path) -> None:
    """The first samples of a child stand for time before its recording began."""
    writer = BatchWriter()
    thread = writer.thread(1, "main")
    for tick in range(1, 11):
        writer.sample(
            thread, 10**11 + tick * 10 * MS, 20 * MS if tick == 1 else 10 * MS, [Frame("f")]
        )
    recording = recording_of(writer, start_ns=10**11, end_ns=10**11 + 100 * MS)
    path = saved(recording, tmp_path)
    seen_ns = [
        sum(total.seen_ns for total in thread_totals(load(path, selection)))
        for selection in (
            Selection(to_s=0.05),
            Selection(to_s=9.0),
            Selection(0.001, 9.0),
            Selection(),
        )
    ]
    assert seen_ns == [60 * MS, 110 * MS, 99 * MS, 110 * MS]


def test_anyone_can_read_it_with_sql(tmp_path: Path) -> None:
    recording = random_recording(3)
    connection = sqlite3.connect(saved(recording, tmp_path))
    totals = {total.identity.tid: total for total in thread_totals(recording)}
    for tid, samples, seen_ns in connection.execute("SELECT tid, samples, seen_ns FROM threads"):
        assert (samples or 0, seen_ns or 0) == (totals[tid].samples, totals[tid].seen_ns)
    frames = "SELECT count(*) FROM stack_frames WHERE depth = 0"
    stacks = len(recording.profiles[0].tables.stack_parent) - 1
    assert connection.execute(frames).fetchone() == (stacks,)
    (own_ns,) = connection.execute("SELECT sum(self_ns) FROM functions").fetchone()
    (weight_ns,) = connection.execute(
        "SELECT sum(weight_ns) FROM samples WHERE function IS NOT NULL"
    ).fetchone()
    assert own_ns == weight_ns == sum(total.seen_ns for total in totals.values())
    connection.close()


# What a killed writer told before its end must be in the file.
_WRITER = """
import os, sys
from exported import exported
from profiler_fakes import *
from pystack_profiler.driver import new_recording
from pystack_profiler.recording_file import LiveFile
from pystack_profiler.report import overview
from pystack_profiler.settings import Settings
recording = new_recording(os.getpid(), Settings())
live = LiveFile(sys.argv[1], recording)
live._flush_every_s = live._flush_at_s = 0
profile = profile_of(BatchWriter())
recording.profiles.append(profile)
writer = BatchWriter()
thread = writer.thread(1)
for tick in range(1, 1_000_000):
    writer.sample(thread, tick * MS + 10**15, MS, [Frame(f"f{tick}"), Frame(f"g{tick % 7}")])
    live.append(profile, writer.batch())
    live.update(recording)
    os.write(1, b"x")
"""


def test_kill_loses_nothing_that_was_written(tmp_path: Path) -> None:
    chance = random.Random(1)
    for number in range(12):
        path = tmp_path / f"{number}.pystack"
        arguments = [sys.executable, "-c", _WRITER, str(path)]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None
            told = len(child.stdout.read(chance.randrange(1, 200)))
            child.send_signal(signal.SIGKILL)
            told += len(child.stdout.read())
        recording = load(str(path))
        assert recording.sample_count in (told, told + 1)
        assert recording.end_reason == "running"


def test_a_transaction_that_was_cut_is_undone_and_nothing_written(tmp_path: Path) -> None:
    """With the journal that a killed recorder leaves in the middle of a transaction."""
    path = Path(saved(random_recording(1), tmp_path))
    before = exported(load(str(path)))
    grown, journal = tmp_path / "grown.pystack", tmp_path / "grown.pystack-journal"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the end
    connection.execute("BEGIN")
    connection.execute("UPDATE string SET text = text || zeroblob(5000)")
    connection.execute("UPDATE sample SET stack = 9999")
    grown.write_bytes(path.read_bytes())
    journal.write_bytes(Path(f"{path}-journal").read_bytes())
    connection.close()
    assert any(journal.read_bytes()[:8])
    content = grown.read_bytes()
    assert exported(load(str(grown))) == before
    assert grown.read_bytes() == content
    journal.write_bytes(journal.read_bytes() + bytes.fromhex("d9d505f920a163d7"))
    with pytest.raises(BadRecordingFile, match="journal"):
        load(str(grown))


def test_a_full_disk_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "x.pystack"
    recording = new_recording(os.getpid(), Settings())
    live = LiveFile(str(path), recording)
    recording.profiles = recording_of(BatchWriter()).profiles
    writer = BatchWriter()
    thread = writer.thread(1)
    live._flush_every_s = live._flush_at_s = 0
    (pages,) = live._connection.execute("PRAGMA page_count").fetchone()
    live._connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    written: list[int] = []

    def fill() -> None:
        for tick in range(1, 10**6):
            writer.sample(thread, tick * MS + 10**15, MS, [Frame(f"f{tick}")])
            live.append(recording.profiles[0], writer.batch())
            live.update(recording)
            written.append(tick)

    with pytest.raises(OSError, match="full"):
        fill()
    live.abandon()
    assert written
    assert load(str(path)).sample_count == len(written)


def test_a_shared_folder_gets_the_file_at_the_end(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "x.pystack-journal").symlink_to("/etc/passwd")
    recording, record = sampled(BatchWriter().batch())
    live = LiveFile(str(shared / "x.pystack"), recording)
    assert not (shared / "x.pystack").exists()
    growing = Path(live.growing_path)
    assert growing.exists()
    assert stat.S_IMODE(growing.parent.stat().st_mode) == 0o700
    record(live)
    assert not growing.exists()
    assert is_recording_file(str(shared / "x.pystack"))
    assert sorted(path.name for path in shared.iterdir()) == ["x.pystack", "x.pystack-journal"]


def test_a_file_that_moves_is_on_the_disk_before_the_old_one_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`benchmarks/power_cuts.py` shows why."""
    tmp_path.chmod(0o1777)
    recording, record = sampled(BatchWriter().batch())
    live = LiveFile(str(tmp_path / "x.pystack"), recording)
    calls: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
            calls.append("fsync of the folder" if is_folder else name)
            return real(*arguments, **options)

        return call

    for name in ("fsync", "rename", "unlink"):
        monkeypatch.setattr(os, name, noted(name))
    record(live)
    assert calls[:4] == ["fsync", "rename", "fsync of the folder", "unlink"]


def test_an_old_journal_is_not_applied_to_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "x.pystack-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" * 100)
    recording, record = sampled(BatchWriter().batch())
    record(LiveFile(str(tmp_path / "x.pystack"), recording))
    assert load(str(tmp_path / "x.pystack")).profiles


def test_a_planted_log_is_not_opened(tmp_path: Path) -> None:
    path = saved(random_recording(1), tmp_path)
    Path(f"{path}-wal").symlink_to(tmp_path / "precious")
    with pytest.raises(BadRecordingFile, match="-wal"):
        load(path)
    assert not (tmp_path / "precious").exists()


def test_a_file_with_a_write_ahead_log_is_not_opened(tmp_path: Path) -> None:
    """SQLite would make files beside it, or use those that somebody put there."""
    path = saved(random_recording(1), tmp_path)
    damage(path, "PRAGMA journal_mode = WAL")
    with pytest.raises(BadRecordingFile, match="write-ahead log"):
        load(path)
    assert [one.name for one in tmp_path.iterdir()] == ["x.pystack"]


def test_a_part_without_samples_is_an_error(tmp_path: Path) -> None:
    path = saved(random_recording(1), tmp_path)
    for command, arguments in ((report, ()), (convert, ("-o", "-", "-f", "folded"))):
        done = CliRunner().invoke(command, [path, "--from", "9000s", *arguments])
        assert isinstance(done.exception, InvalidArgument)
        assert "no sample of the recording" in str(done.exception)
    assert CliRunner().invoke(report, [path, "-d", "1s"]).exit_code == 2


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    LiveFile(str(tmp_path / "x.pystack"), recording_of()).discard()
    assert not [*tmp_path.iterdir()]


_TAKEN = "WHERE text = 'taken'"


def damage(path: str, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sample SET stack = 99999999",
        "UPDATE sample SET stack = -1",
        "UPDATE sample SET stack = 'x'",
        "UPDATE sample SET weight_ns = 1 << 62",
        "UPDATE sample SET weight_ns = -1",
        "UPDATE sample SET end_ns = 0.5",
        "UPDATE sample SET thread = 77",
        "UPDATE sample SET end_ns = NULL WHERE 0; DELETE FROM thread",
        "UPDATE stack SET parent = id",
        "UPDATE stack SET frame = 999999 WHERE id > 0",
        "DELETE FROM stack WHERE id = 1",
        "DELETE FROM frame WHERE id = 1",
        "UPDATE frame SET function = 99999",
        "UPDATE frame SET kind = 256",
        "UPDATE frame SET address = 'x'",
        "DELETE FROM string WHERE id = 1",
        "UPDATE string SET text = x'ff'",
        "UPDATE process SET command = '{'",
        f"UPDATE process SET command = '{'[' * 100_000}'",
        "UPDATE process SET command = '[1]'",
        "UPDATE process SET end_reason = 'bored'",
        "UPDATE process SET start_ns = 'x'",
        "UPDATE thread SET interpreter = 'x'",
        "UPDATE metadata SET value = 'x' WHERE name = 'pid'",
        "UPDATE metadata SET value = x'00' WHERE name = 'rate_hz'",
        "UPDATE metadata SET value = 'x' WHERE name = 'base_ns'",
        "UPDATE metadata SET value = 1 << 62 WHERE name = 'start_time_ns'",
        "UPDATE metadata SET value = 9e999 WHERE name = 'rate_hz'",
        f"INSERT INTO counts SELECT 0, 5, id, 'x' FROM string {_TAKEN}",
        f"INSERT INTO counts SELECT 0, 5, id, -1 FROM string {_TAKEN}",
        f"INSERT INTO counts SELECT 7, 5, id, 1 FROM string {_TAKEN}",
        "INSERT INTO counts VALUES(0, 5, 99999, 1)",
        "INSERT INTO late_cpu VALUES(55, 0, 1, 1)",
        "INSERT INTO late_cpu VALUES(0, 0, -1, 1)",
        "UPDATE stack_total SET stack = 9999999",
        "UPDATE stack_total SET weight_ns = 'x'",
        "UPDATE stack_total SET state = 1 << 40",
        "UPDATE thread_total SET end_ns = start_ns - 1",
        "UPDATE stack_total SET weight_ns = weight_ns + 1 WHERE rowid = 4",
        "UPDATE stack_total SET samples = samples + 1 WHERE rowid = 4",
        "UPDATE stack_total SET cpu_ns = cpu_ns + 1 WHERE rowid = 4",
        "DELETE FROM stack_total WHERE samples",
        # All sums are as before, but of other stacks.
        "UPDATE stack_total SET stack = max(stack - 1, 1) WHERE samples",
        "UPDATE thread_total SET late_cpu_ns = late_cpu_ns + 1 WHERE thread = 0",
        "UPDATE sample SET weight_ns = weight_ns + 1 WHERE id = 1; -- other than the total",
        "CREATE INDEX mine ON sample(thread)",
        "INSERT INTO gil_blame VALUES(0, 0, 9999999, 1)",
        "INSERT INTO gil_blame VALUES(0, 0, 0, -1)",
        "DROP TABLE sample",
        "DROP TABLE sample; CREATE VIEW sample AS SELECT * FROM thread",
        "DROP TABLE sample; CREATE TABLE sample(id)",
        "PRAGMA user_version = 4",
        "PRAGMA application_id = 3",
    ],
)
def test_damaged_files_are_refused(statement: str, tmp_path: Path) -> None:
    recording = random_recording(5)
    recording.profiles[0].stats["taken"] = 3
    path = saved(recording, tmp_path)
    damage(path, statement)
    with pytest.raises(BadRecordingFile, match=r"x\.pystack"):
        load(path, in_order="total" not in statement and "blame" not in statement)


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_is_refused_or_harmless(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    path = Path(saved(random_recording(2), tmp_path))
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 10, 200])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.3:
        del content[chance.randrange(len(content)) :]
    path.write_bytes(content)
    try:
        recording = load(str(path))
    except BadRecordingFile:
        return
    exported(recording)
    with suppress(BadRecordingFile):
        reports(load(str(path), in_order=False))


def test_views_and_triggers_that_were_added_do_nothing(tmp_path: Path) -> None:
    recording = random_recording(5)
    path = Path(saved(recording, tmp_path))
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    statements = ["DROP VIEW samples", f"CREATE VIEW samples AS {endless}"]
    for table in ("sample", "metadata", "stack_total"):
        statements += [
            f"CREATE TRIGGER {when}_{table} AFTER {when} ON {table} BEGIN DELETE FROM string; END"
            for when in ("INSERT", "UPDATE", "DELETE")
        ]
    damage(str(path), ";".join(statements))
    content = path.read_bytes()
    assert exported(load(str(path))) == exported(recording)
    assert reports(load(str(path), in_order=False)) == reports(recording)
    assert path.read_bytes() == content


def test_counts_of_another_version_are_ignored(tmp_path: Path) -> None:
    recording = random_recording(5)
    path = saved(recording, tmp_path)
    damage(path, "INSERT INTO string SELECT max(id) + 1, 'bored' FROM string")
    damage(path, "INSERT INTO counts SELECT 0, 5, max(id), 'very' FROM string")
    assert load(path).stats == recording.stats


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"x", json.dumps({}).encode(), b"SQLite format 3\0" + bytes(84)):
        (tmp_path / "x").write_bytes(content)
        assert not is_recording_file(str(tmp_path / "x"))
        with pytest.raises(BadRecordingFile, match="not a recording"):
            load(str(tmp_path / "x"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadRecordingFile, match="regular"):
        load(str(tmp_path / "pipe"))
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / "missing"))
