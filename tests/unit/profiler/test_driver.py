from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from profiler_fakes import MS, BatchWriter, BusySampler, FakeBatch, FakeSampler, Frame
from pystack.errors import PystackError
from pystack_profiler import driver, record_call, recorder, settings
from pystack_profiler.cpu_budget import CpuBudget
from pystack_profiler.driver import (
    OneProcess,
    Progress,
    new_recording,
    record_targets,
)
from pystack_profiler.process_recorder import ProcessRecorder, Sampler
from pystack_profiler.profile import Recording
from pystack_profiler.settings import Settings


def one_sample() -> FakeBatch:
    writer = BatchWriter()
    now_ns = time.monotonic_ns()
    writer.sample(writer.thread(1), now_ns + MS, MS, [Frame("f")])
    return writer.batch()


def record_samples(
    sampler: Sampler,
    pid: int,
    settings: Settings,
    *,
    stop_requested: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Recording:
    made = new_recording(pid, settings)
    record_targets(
        OneProcess(ProcessRecorder(sampler, pid)),
        made,
        settings.duration_s,
        stop_requested=stop_requested,
        on_progress=on_progress,
    )
    return made


def test_records_until_the_target_ends() -> None:
    sampler = FakeSampler([one_sample()], ends="target_exited", taken=1)
    made = record_samples(sampler, os.getpid(), Settings(rate_hz=50))
    assert made.sample_count == 1
    assert made.end_reason == "target_exited"
    assert made.profiles[0].process.python_version == "3.13.5"
    assert made.rate_hz == 50
    assert made.command[0]
    assert made.stats["taken"] == 1
    assert sampler.started
    assert sampler.stopped


def test_records_for_the_duration() -> None:
    begin = time.monotonic()
    made = record_samples(FakeSampler(), 1, Settings(duration_s=0.05))
    assert 0.05 <= time.monotonic() - begin < 5
    assert made.end_reason == "stopped"
    assert made.duration_ns >= 50 * MS


def test_takes_what_came_in_before_the_stop() -> None:
    sampler = FakeSampler([one_sample(), FakeBatch(), FakeBatch(finished=True)])
    made = record_samples(sampler, 1, Settings(), stop_requested=lambda: True)
    assert made.sample_count == 1
    assert made.end_reason == "stopped"


def test_tells_progress() -> None:
    told: list[Progress] = []
    sampler = FakeSampler([one_sample()], ends="target_exited", taken=1)
    record_samples(sampler, 1, Settings(), on_progress=told.append)
    assert {progress.threads for progress in told} == {1}
    assert told[0].stats["taken"] == 1


def test_a_failure_on_the_way_keeps_what_was_recorded() -> None:
    class Failing(FakeSampler):
        def next_batch(self, timeout_s: float) -> FakeBatch | None:
            batch = super().next_batch(timeout_s)
            if batch is None:
                raise PystackError("the memory went away")
            return batch

    sampler = Failing([one_sample()])
    made = record_samples(sampler, 1, Settings())
    assert made.sample_count == 1
    assert made.end_reason == "failed"
    assert made.error is not None
    assert "the memory went away" in made.error
    assert sampler.stopped


def test_the_sampler_is_stopped_on_any_way_out() -> None:
    def interrupt() -> bool:
        raise KeyboardInterrupt

    sampler = FakeSampler()
    with pytest.raises(KeyboardInterrupt):
        record_samples(sampler, 1, Settings(), stop_requested=interrupt)
    assert sampler.stopped


def test_a_callback_that_raises_keeps_what_was_recorded() -> None:
    def fail(progress: Progress) -> None:
        made.append(progress.recording)
        raise LookupError("of the callback")

    made: list[Recording] = []
    sampler = FakeSampler([one_sample(), one_sample()], ends="running", taken=2)
    with pytest.raises(LookupError, match="of the callback"):
        record_samples(sampler, 1, Settings(), on_progress=fail)
    assert sampler.stopped
    assert (made[0].end_reason, made[0].error) == ("failed", "LookupError: of the callback")
    assert made[0].ended_ns
    # What had arrived, and what the sampler still had.
    assert made[0].sample_count == 2


def test_windows_that_are_cut_while_it_records() -> None:
    writer = BatchWriter()
    thread = writer.thread(1)
    batches = []
    for number in range(3):
        writer.sample(thread, time.monotonic_ns() + number * MS, MS, [Frame("f")])
        batch = writer.batch()
        batch.stats["taken"] = 1
        batches.append(batch)
    windows: list[Recording] = []
    sampler = FakeSampler(batches)
    sampler.counts = None
    made = record_samples(
        sampler,
        1,
        Settings(),
        stop_requested=lambda: len(windows) == 4,
        on_progress=lambda progress: windows.append(progress.recording.cut()),
    )
    assert [window.sample_count for window in windows] == [1, 1, 1, 0]
    assert [window.stats["taken"] for window in windows] == [1, 1, 1, 0]
    assert {window.end_reason for window in windows} == {"continued"}
    assert (made.sample_count, made.unseen_processes) == (0, 0)
    assert made.end_reason == "stopped"


def test_record_opens_a_sampler_with_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[int, dict[str, Any]]] = []

    def open_sampler(pid: int, **asked: object) -> FakeSampler:
        opened.append((pid, asked))
        return FakeSampler()

    monkeypatch.setattr("pystack.open_sampler", open_sampler)
    record_call.record(17, duration_s=0.01, rate_hz=1000, stop=True)
    asked = {
        "rate_hz": 1000,
        "stop": True,
        "exhaustive": False,
        "native": None,
        "tasks": False,
        "raise_priority": True,
        "max_cpu_share": 0.2,
        "max_pause_share": 0.05,
        "max_memory": None,
    }
    assert all(one.pop("cancelled")() is False for _, one in opened)
    assert opened == [(17, asked)]


def test_only_stopping_recordings_have_a_cpu_limit_by_default() -> None:
    assert Settings().max_cpu_share == 1.0
    assert Settings(stop=True).max_cpu_share == settings.DEFAULT_MAX_CPU
    assert Settings(stop=True, max_cpu=0.5).max_cpu_share == 0.5
    assert Settings(max_cpu=0.1).max_cpu_share == 0.1


def test_a_callback_that_does_not_return_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def block(_: Progress) -> None:
        called.set()
        released.wait()

    called, released = threading.Event(), threading.Event()
    sampler = FakeSampler([one_sample(), one_sample()])
    monkeypatch.setattr(driver, "open_sampler", lambda *_: sampler)
    monkeypatch.setattr(recorder, "_CALLBACK_PATIENCE_S", 0.01)
    running = recorder.Recorder(1, on_progress=block)
    running.start()
    assert called.wait(10)
    made = running.stop()
    # All is there, also what the blocked thread did not receive.
    assert made.end_reason == "stopped"
    assert made.sample_count == 2
    released.set()
    assert running.join(10)
    assert running.stop() is made
    assert made.sample_count == 2


def test_renewed_tables_begin_another_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = BusySampler(10, threads=2, rate_hz=10)
    one = ProcessRecorder(sampler, 1)
    one.receive(0)
    before = one.profile
    one.begin_renewal()
    assert one.is_renewing
    while one.is_renewing:
        one.receive(0)
    assert one.take_ended_profile() is before
    assert one.profile is not before
    assert before.process.end_reason == "continued"
    one.receive(0)
    assert one.profile.start_ns == before.end_ns
    assert before.sample_count == one.profile.sample_count == 20
    assert "f1_0" not in one.profile.tables.strings
    # A sampler that ends first has no other tables.
    monkeypatch.setattr(sampler, "renew_tables", lambda: None)
    one.begin_renewal()
    while one.is_renewing:
        one.receive(0)
    assert one.has_ended
    assert one.take_ended_profile() is one.profile


def test_the_recorder_leaves_samplers_what_it_does_not_use() -> None:
    now_s = 0.0
    sampler = FakeSampler()
    one = ProcessRecorder(sampler, 1)
    budget = CpuBudget(0.5, whole_process=False, clock=lambda: now_s)
    budget.update([one])
    assert sampler.max_cpu_share == 1.0  # not known yet
    now_s = 1000.0
    budget.update([one])
    assert 0.4 < sampler.max_cpu_share <= 0.5
    spent_ns = time.thread_time_ns()
    while time.thread_time_ns() < spent_ns + 20 * MS:
        pass
    now_s += 1.0  # 2 % of it
    budget.update([one])
    all_of_it = sampler.max_cpu_share
    now_s += 0.01  # too soon
    budget.update([one])
    assert sampler.max_cpu_share == all_of_it < 0.5
