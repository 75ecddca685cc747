from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from profiler_fakes import MS, BatchWriter, FakeBatch, FakeSampler, Frame
from pystack.errors import NoSuchProcess, NotPython, PermissionDenied
from pystack_profiler import tree_recording
from pystack_profiler.driver import new_recording, record_targets
from pystack_profiler.process_recorder import Sampler
from pystack_profiler.settings import Settings
from pystack_profiler.tree_recording import ProcessFamily


def executes_sleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").readlink().name in ("sleep", "coreutils", "busybox")


class Opener:
    """Takes `sleep` for Python, and nothing else."""

    def __init__(self) -> None:
        self.opened: dict[int, float] = {}
        self.tries: list[int] = []
        self.samplers: dict[int, FakeSampler] = {}

    def __call__(self, pid: int) -> Sampler:
        self.tries.append(pid)
        if not executes_sleep(pid):
            raise NotPython(f"process {pid} is not Python", pid=pid)
        self.opened[pid] = time.monotonic()
        self.samplers[pid] = FakeSampler([samples(pid)], taken=1, attempted=1)
        return self.samplers[pid]


def samples(pid: int, tid: int | None = None) -> FakeBatch:
    writer = BatchWriter()
    thread = writer.thread(pid if tid is None else tid, "MainThread", pid=pid)
    writer.sample(thread, time.monotonic_ns(), MS, [Frame("f")])
    return writer.batch()


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        ["sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
    ) as shell:
        yield shell
        os.killpg(shell.pid, signal.SIGKILL)


@pytest.fixture
def family(shell: subprocess.Popen[str], opener: Opener) -> Iterator[ProcessFamily]:
    family = ProcessFamily(shell.pid, opener)
    yield family
    family.close()


def tell(shell: subprocess.Popen[str], command: str) -> int:
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"{command}\n")
    return int(shell.stdout.readline())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def test_a_child_is_opened_soon(shell: subprocess.Popen[str], opener: Opener) -> None:
    assert tree_recording.LOOK_EVERY_S + tree_recording._SETTLES_IN_S < 0.05
    family = ProcessFamily(shell.pid, opener)
    delays_s = []
    for _ in range(10):
        child = tell(shell, "sleep 100 & echo $!")
        begin_s = time.monotonic()
        wait_until(lambda child=child: child in opener.opened)  # type: ignore[misc]
        delays_s.append(opener.opened[child] - begin_s)
    family.close()
    assert sorted(delays_s)[4] < 1  # 0.04 on a machine with nothing else to do


def test_the_root_is_first_though_found_last(shell: subprocess.Popen[str], opener: Opener) -> None:
    def open_last(pid: int) -> Sampler:
        if pid == shell.pid and len(opener.opened) == 2:
            return FakeSampler([samples(pid)])
        return opener(pid)

    family = ProcessFamily(shell.pid, open_last)
    children = [tell(shell, "sleep 100 & echo $!") for _ in range(2)]
    wait_until(lambda: len(family.recorders) == 3)
    family.close()
    found = [recorder.profile.process.pid for recorder in family.recorders]
    assert found == [shell.pid, *children]


def test_who_executes_something_else_is_another_program(
    family: ProcessFamily, shell: subprocess.Popen[str], opener: Opener
) -> None:
    child = tell(shell, "sh -c 'echo $$; sleep 0.3; exec sleep 100' &")
    wait_until(lambda: child in opener.tries)
    assert child not in opener.opened
    wait_until(lambda: child in [one.profile.process.pid for one in family.recorders])


def test_who_is_not_python_any_more_is_not_sampled(shell: subprocess.Popen[str]) -> None:
    samplers: dict[int, FakeSampler] = {}

    def open_shells(pid: int) -> Sampler:
        if executes_sleep(pid):
            raise NotPython("not Python", pid=pid)
        samplers[pid] = FakeSampler([samples(pid)])
        return samplers[pid]

    family = ProcessFamily(shell.pid, open_shells)
    child = tell(shell, "sh -c 'echo $$; sleep 0.5; exec sleep 100' &")
    wait_until(lambda: child in samplers)
    assert not samplers[child].stopped
    wait_until(lambda: samplers[child].stopped)
    family.close()


def test_who_is_not_python_is_asked_less_and_less_often(
    family: ProcessFamily, shell: subprocess.Popen[str], opener: Opener
) -> None:
    child = tell(shell, "sh -c 'echo $$; sleep 100; true' &")
    wait_until(lambda: opener.tries.count(child) >= 5)
    begin_s = time.monotonic()
    before = opener.tries.count(child)
    time.sleep(0.5)
    assert opener.tries.count(child) - before <= 1 + (time.monotonic() - begin_s) / 0.3


def test_a_root_that_cannot_be_read_is_an_error() -> None:
    for kind in (PermissionDenied, NoSuchProcess):

        def refuse(pid: int, kind: type[Exception] = kind) -> Sampler:
            raise kind("no")

        before = threading.active_count()
        with pytest.raises(kind):
            ProcessFamily(os.getpid(), refuse)
        assert threading.active_count() == before


def test_a_recording_of_a_family(shell: subprocess.Popen[str], opener: Opener) -> None:
    settings = Settings(subprocesses=True)
    family = ProcessFamily(shell.pid, opener)
    children = [tell(shell, "sleep 100 & echo $!") for _ in range(3)]
    made = new_recording(shell.pid, settings)
    record_targets(family, made, stop_requested=lambda: len(opener.opened) == 3)
    assert {profile.process.pid for profile in made.profiles} == set(children)
    assert made.stats["taken"] == made.sample_count == 3
    assert made.end_reason == "stopped"
    assert all(sampler.stopped for sampler in opener.samplers.values())
    assert family.other_processes == 1
    assert isinstance(family.root_error, NotPython)


def test_no_more_than_allowed_are_recorded(shell: subprocess.Popen[str], opener: Opener) -> None:
    family = ProcessFamily(shell.pid, opener, max_processes=3)
    children = [tell(shell, "sleep 100 & echo $!") for _ in range(5)]
    wait_until(lambda: len(opener.opened) == 3 and family.left_out_processes == 2)
    os.kill(next(iter(opener.opened)), signal.SIGKILL)
    # Its place is free for another one.
    wait_until(lambda: len(opener.opened) == 4 and family.left_out_processes == 1)
    family.close()
    assert opener.opened.keys() < set(children)
    assert family.other_processes == 1


def test_it_ends_with_the_root(shell: subprocess.Popen[str], opener: Opener) -> None:
    family = ProcessFamily(shell.pid, opener)
    tell(shell, "sleep 100 & echo $!")
    assert shell.stdin is not None
    shell.stdin.write("exit\n")
    made = new_recording(shell.pid, Settings(subprocesses=True))
    # A zombie executes nothing: that its parent has not asked for its status yet is no matter.
    with suppress(NotPython):  # The end can come before `sleep` is found.
        record_targets(family, made)
    assert made.end_reason == "target_exited"


def test_threads_that_a_child_has_from_its_parent_are_left_out(
    shell: subprocess.Popen[str],
) -> None:
    def open_early(pid: int) -> Sampler:
        if pid == shell.pid:
            raise NotPython("not Python", pid=pid)
        return FakeSampler([samples(pid, tid=0), samples(pid)][:1], taken=1, attempted=1)

    family = ProcessFamily(shell.pid, open_early)
    tell(shell, "sleep 100 & echo $!")
    made = new_recording(shell.pid, Settings(subprocesses=True))
    record_targets(family, made, stop_requested=lambda: bool(family.recorders))
    assert [profile.tracks for profile in made.profiles] == [[]]
    assert made.stats["taken"] == made.stats["attempted"] == 0
