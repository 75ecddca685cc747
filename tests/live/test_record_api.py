"""`pystack_profiler.record` and `Recorder` on real processes, their own among them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pystack
from process_state import wait_until
from pystack.errors import InvalidArgument, NoSuchProcess, NotPython, PystackError
from pystack_profiler import (
    Progress,
    Recorder,
    Recording,
    driver,
    export_folded,
    export_html,
    export_speedscope,
    function_totals,
    record,
)
from targets import PROGRAMS

pytestmark = pytest.mark.live

_BUSY = "def busy():\n while True: sum(range(100))\nprint(flush=True)\nbusy()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is in `busy`."""
    with subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def half(until_s: float) -> float:
    while (now_s := time.monotonic()) < until_s:
        pass
    return now_s


def third(until_s: float) -> float:
    while (now_s := time.monotonic()) < until_s:
        pass
    return now_s


def work(seconds: float) -> dict[str, float]:
    """Works in two functions in turn. Returns the time that each took."""
    taken = {"half": 0.0, "third": 0.0}
    before_s = begin_s = time.monotonic()
    while before_s < begin_s + seconds:
        for function, share_s in ((half, 0.05), (third, 0.03)):
            now_s = function(before_s + share_s)
            taken[function.__name__] += now_s - before_s
            before_s = now_s
    return taken


def totals(made: Recording) -> dict[str, float]:
    """Function -> seconds, with what it called."""
    return {
        total.label.name.rpartition("<locals>.")[2]: total.total_ns / 1e9
        for total in function_totals(made)
    }


def assert_shares(made: Recording, taken: dict[str, float]) -> None:
    found = totals(made)
    seen_s = found["half"] + found["third"]
    assert seen_s > 0.5 * sum(taken.values())
    expected = taken["half"] / sum(taken.values())
    assert found["half"] / seen_s == pytest.approx(expected, abs=0.1)


def recorders_left() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("pystack")]


def test_the_own_process_while_it_works() -> None:
    with Recorder(rate_hz=500) as made:
        taken = work(2)
    assert_shares(made, taken)
    assert made.pid == os.getpid()
    assert made.end_reason == "stopped"
    assert made.duration_ns / 1e9 == pytest.approx(sum(taken.values()), abs=0.5)
    assert made.stats["taken"] == made.sample_count
    # The wait for the end of the recording is not in it.
    assert totals(made).get("Recorder._end", 0) < 0.1
    assert not recorders_left()


def test_the_own_process_by_a_function_in_a_thread() -> None:
    found: list[Recording] = []
    has_begun, is_over = threading.Event(), threading.Event()

    def record_it() -> None:
        found.append(
            record(
                os.getpid(),
                rate_hz=500,
                stop_requested=is_over.is_set,
                on_progress=lambda _: has_begun.set(),
            )
        )

    thread = threading.Thread(target=record_it)
    thread.start()
    assert has_begun.wait(60)
    taken = work(2)
    is_over.set()
    thread.join()
    assert_shares(found[0], taken)


def test_a_child(child: subprocess.Popen[bytes]) -> None:
    made = record(child.pid, duration_s=1, rate_hz=200)
    assert totals(made)["busy"] > 0.5
    assert made.end_reason == "stopped"
    with Recorder(child.pid, rate_hz=200) as made:
        time.sleep(0.5)
    assert totals(made)["busy"] > 0.1


def test_a_child_with_native_frames(child: subprocess.Popen[bytes]) -> None:
    with Recorder(child.pid, rate_hz=200, native=True) as made:
        time.sleep(1)
    assert made.native
    assert made.stops_target
    assert made.stats["stops"]
    assert any("sum" in name for name in totals(made))


def test_a_recording_can_be_looked_at_while_it_runs(child: subprocess.Popen[bytes]) -> None:
    seen: list[tuple[int, int, float]] = []

    def look_at_it(progress: Progress) -> None:
        looked_at = progress.recording
        if not looked_at.sample_count:
            return
        assert looked_at.end_reason == "running"
        assert looked_at.stats["taken"] == looked_at.sample_count == progress.stats["taken"]
        for export in (export_folded, export_html, export_speedscope):
            export(looked_at, io.StringIO())
        stream = io.StringIO()
        export_speedscope(looked_at, stream)
        document = json.loads(stream.getvalue())
        assert document["pystack"]["counts"]["taken"] == looked_at.sample_count
        look = (looked_at.sample_count, looked_at.duration_ns, totals(looked_at)["busy"])
        if look not in seen:
            seen.append(look)

    recorder = Recorder(child.pid, rate_hz=200, on_progress=look_at_it)
    made = recorder.start()
    wait_until(lambda: len(seen) >= 4, "looks")
    outside = [made.snapshot() for _ in range(2)]
    recorder.stop()
    assert seen == sorted(seen)
    # Between the last two there may have been no sample.
    assert len({samples for samples, _, _ in seen}) >= len(seen) - 1
    assert all(one.stats["taken"] == one.sample_count for one in outside)
    assert outside[0].sample_count <= outside[1].sample_count <= made.sample_count
    assert made.end_reason == "stopped"


def test_snapshots_of_another_thread_are_consistent(child: subprocess.Popen[bytes]) -> None:
    with Recorder(child.pid, rate_hz=2000) as made:
        end_s = time.monotonic() + 2
        while time.monotonic() < end_s:
            snapshot = made.snapshot()
            assert snapshot.stats["taken"] == snapshot.sample_count
            assert sum(totals(snapshot).values()) >= 0
    assert made.sample_count > 1000


def test_windows_of_a_real_process(child: subprocess.Popen[bytes]) -> None:
    windows: list[Recording] = []

    def cut(progress: Progress) -> None:
        if progress.recording.sample_count:
            windows.append(progress.recording.cut())

    recorder = Recorder(child.pid, rate_hz=200, on_progress=cut)
    recorder.start()
    wait_until(lambda: len(windows) >= 3, "windows")
    rest = recorder.stop()
    assert all(window.stats["taken"] == window.sample_count for window in [*windows, rest])
    for window in windows:
        assert totals(window)["busy"] > 0
        assert window.stats["elapsed_ns"] <= window.duration_ns + 1e8
    ticks = sum(window.stats["ticks"] for window in [*windows, rest])
    assert sum(window.sample_count for window in [*windows, rest]) == pytest.approx(ticks, rel=0.05)
    assert rest.profiles
    assert rest.unseen_processes == 0


def test_subprocesses(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAMS / "family.py"), "1.5", "0"]
    with subprocess.Popen(command) as root:
        made = record(root.pid, subprocesses=True, rate_hz=200)
    assert {"forked", "spawned", "executed", "main"} <= totals(made).keys()
    # On a busy machine, a child may be seen before it executes another program.
    assert len(made.profiles) >= 4
    assert made.other_processes >= 3
    assert made.end_reason == "target_exited"
    assert not recorders_left()


def test_the_own_process_with_its_children() -> None:
    with Recorder(subprocesses=True, rate_hz=200) as made:
        with subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE) as child:
            taken = work(1.5)
            child.kill()
        # The child's parent is the thread that started it, which may be any.
        assert made.snapshot().sample_count
    assert {profile.process.pid for profile in made.profiles} == {os.getpid(), child.pid}
    assert totals(made)["busy"] > 0.1
    assert_shares(made, taken)
    assert not recorders_left()


def test_an_exception_in_the_block_ends_the_recording() -> None:
    def fail(made: list[Recording]) -> None:
        with Recorder(rate_hz=200) as running:
            made.append(running)
            work(0.5)
            raise LookupError("of the block")

    made: list[Recording] = []
    with pytest.raises(LookupError, match="of the block"):
        fail(made)
    assert made[0].end_reason == "stopped"
    assert made[0].sample_count
    assert not recorders_left()


def broken(_: Progress) -> None:
    raise LookupError("of the callback")


def test_a_failure_in_the_background_is_raised_at_the_end() -> None:
    def run(made: list[Recording]) -> None:
        with Recorder(on_progress=broken) as running:
            made.append(running)
            time.sleep(0.6)

    made: list[Recording] = []
    with pytest.raises(LookupError, match="of the callback"):
        run(made)
    assert made[0].end_reason == "failed"
    assert made[0].sample_count
    assert not recorders_left()


def test_a_failure_in_the_background_does_not_hide_that_of_the_block() -> None:
    def run() -> None:
        with Recorder(on_progress=broken):
            time.sleep(0.6)
            raise KeyError("of the block")

    with pytest.raises(KeyError, match="of the block"):
        run()
    assert not recorders_left()


def test_a_recording_that_failed_is_raised_and_kept(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = driver.open_sampler

    class Failing:
        def __init__(self, *arguments: object) -> None:
            self._sampler = real(*arguments)  # type: ignore[arg-type]
            self._batches = 0

        def __getattr__(self, name: str) -> object:
            return getattr(self._sampler, name)

        def next_batch(self, timeout_s: float) -> object:
            self._batches += 1
            if self._batches > 2:
                raise PystackError("the memory went away")
            return self._sampler.next_batch(timeout_s)

    monkeypatch.setattr(driver, "open_sampler", Failing)
    recorder = Recorder(child.pid, rate_hz=200)
    made = recorder.start()
    wait_until(lambda: made.end_reason == "failed", "the failure")
    with pytest.raises(PystackError, match="the memory went away"):
        recorder.stop()
    assert made.sample_count
    assert record(child.pid, rate_hz=200).error == "the memory went away"


def test_the_end_of_the_target_ends_the_recording(child: subprocess.Popen[bytes]) -> None:
    with Recorder(child.pid, rate_hz=200) as made:
        time.sleep(0.5)
        child.kill()
        child.wait()
        wait_until(lambda: made.end_reason == "target_exited", "the end")
    assert totals(made)["busy"] > 0


@pytest.mark.parametrize("subprocesses", [False, True])
def test_a_callback_ends_the_recording(child: subprocess.Popen[bytes], subprocesses: bool) -> None:
    begin_s = time.monotonic()

    def is_over() -> bool:
        return time.monotonic() > begin_s + 1

    made = record(child.pid, rate_hz=200, subprocesses=subprocesses, stop_requested=is_over)
    assert made.end_reason == "stopped"
    assert 0.1 < totals(made)["busy"] < 5
    begin_s = time.monotonic()
    recorder = Recorder(child.pid, subprocesses=subprocesses, stop_requested=is_over)
    made = recorder.start()
    wait_until(lambda: made.end_reason == "stopped", "the end")
    assert recorder.join(30)
    assert recorder.stop() is made


def test_the_duration_ends_it_before_the_block_does(child: subprocess.Popen[bytes]) -> None:
    with Recorder(child.pid, duration_s=0.3) as made:
        wait_until(lambda: made.end_reason == "stopped", "the end")
    assert made.duration_ns < 3e9


def test_inside_an_event_loop() -> None:
    async def step() -> None:
        work(0.1)
        await asyncio.sleep(0)

    async def main() -> tuple[Recording, Recording]:
        with Recorder(rate_hz=200) as around:
            other = asyncio.create_task(
                asyncio.to_thread(record, os.getpid(), duration_s=0.5, rate_hz=200)
            )
            for _ in range(8):
                await step()
            return around, await other

    # On a thread of its own: the tests in a browser leave a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        recordings = pool.submit(lambda: asyncio.run(main())).result()
    for made in recordings:
        assert totals(made)["step"] > 0.1


def test_from_a_thread_with_start_and_stop() -> None:
    """As in a notebook: not the main thread, and no block that spans both."""
    made: list[Recording] = []

    def cells() -> None:
        recorder = Recorder(rate_hz=200)
        running = recorder.start()
        work(0.6)
        made.append(running.snapshot())
        made.append(recorder.stop())
        assert recorder.stop() is made[1]

    thread = threading.Thread(target=cells)
    thread.start()
    thread.join()
    assert 0 < made[0].sample_count <= made[1].sample_count
    assert totals(made[1])["cells"] > 0.3


@pytest.mark.parametrize("how", [{"stop": True}, {"native": True}])
@pytest.mark.parametrize("subprocesses", [False, True])
def test_a_process_cannot_stop_itself(how: dict[str, bool], subprocesses: bool) -> None:
    calls: list[Callable[[], object]] = [
        lambda: record(os.getpid(), duration_s=1, subprocesses=subprocesses, **how),  # type: ignore[call-overload]
        lambda: Recorder(os.getpid(), subprocesses=subprocesses, **how).start(),  # type: ignore[arg-type]
        lambda: pystack.dump(os.getpid()),
        lambda: pystack.dump(os.getpid(), native=True),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument, match="cannot stop itself") as raised:
            call()
        assert raised.value.pid == os.getpid()
        assert raised.value.hint
    assert not recorders_left()


def test_the_own_process_can_be_dumped_without_a_stop() -> None:
    snapshot = pystack.dump(os.getpid(), block=False)
    assert any(thread.is_main for thread in snapshot.threads)


def test_errors_of_the_beginning() -> None:
    with subprocess.Popen(["sleep", "100"]) as sleep:
        with pytest.raises(NotPython):
            record(sleep.pid)
        with pytest.raises(NotPython):
            Recorder(sleep.pid).start()
        with pytest.raises(NotPython):
            record(sleep.pid, subprocesses=True, duration_s=0.2)
        sleep.kill()
    with pytest.raises(NoSuchProcess):
        record(sleep.pid)
    for wrong in ({"rate_hz": 0}, {"duration_s": -1}, {"max_cpu": 2}, {"max_processes": 0}):
        with pytest.raises(InvalidArgument):
            record(os.getpid(), **wrong)  # type: ignore[call-overload]
    with pytest.raises(InvalidArgument):
        record(-1)
    recorder = Recorder(duration_s=0)
    with pytest.raises(InvalidArgument, match="not started"):
        recorder.stop()
    with recorder, pytest.raises(InvalidArgument, match="only once"):
        recorder.start()
    assert not recorders_left()


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_program_can_exit_without_a_stop() -> None:
    done = run_script(
        "from pystack_profiler import Recorder\n"
        "recorder = Recorder(rate_hz=500)\n"
        "made = recorder.start()\n"
        "sum(range(10**7))\n"
        "print('done')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_forked_child_leaves_the_block_at_once() -> None:
    done = run_script(
        "import os, sys\n"
        "from pystack_profiler import Recorder\n"
        "with Recorder(rate_hz=500) as made:\n"
        "    sum(range(10**7))\n"
        "    pid = os.fork()\n"
        "if pid:\n"
        "    assert os.waitpid(pid, 0)[1] == 0\n"
        "    assert made.sample_count\n"
        "    print('done')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_ctrl_c_ends_the_recording() -> None:
    done = run_script(
        "import os, signal, threading, time\n"
        "from pystack_profiler import Recorder, record\n"
        "threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    record(os.getpid())\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', threading.active_count())\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("interrupted")
