"""Recorded tasks: the time at each await is what the program itself measures, and what waits is what dumps say."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable

import pytest

import pystack_profiler
from interpreters import required
from pystack_profiler.driver import Progress
from pystack_profiler.grouping import Grouping
from pystack_profiler.profile import Recording
from targets import PROGRAMS, Interpreter

pytestmark = pytest.mark.live

WITH_TASKS = [one for one in required() if one.version[1] >= 7]  # asyncio.run() came with 3.7
#: Of tasks. A busy machine takes them slowly.
ENOUGH_SAMPLES = 700
MOST_S = 30


def enough_of(pid: int) -> Recording:
    taken = 0

    def note(progress: Progress) -> None:
        nonlocal taken
        taken = progress.stats["task_samples"]

    return pystack_profiler.record(
        pid,
        duration_s=MOST_S,
        tasks=True,
        stop_requested=lambda: taken >= ENOUGH_SAMPLES,
        on_progress=note,
    )


def times_of_stacks(recording: Recording) -> dict[tuple[str, ...], float]:
    """Seconds by stack: the functions, outermost first, and what is waited for."""
    grouping = Grouping(recording.profiles, "function")
    seconds: dict[tuple[str, ...], float] = {}
    for profile in recording.profiles:
        for track in profile.task_tracks:
            for run in track.runs():
                if run.samples:
                    path = grouping.path(grouping.stack_of_run(profile, run))
                    names = tuple(grouping.frames[frame].name for frame in path)
                    seconds[names] = seconds.get(names, 0.0) + run.weight_ns / 1e9
    return seconds


def place_of(stack: tuple[str, ...]) -> str:
    """What the program calls it. A task that is ready to go on is still at its await."""
    function, called = (name.rpartition(".")[2].split(" ")[0] for name in stack[1:3])
    if function == "locked":
        return "held" if called == "sleep" else "lock"
    names = {
        ("sleeper", "sleep"): "sleep",
        ("sleeper", "put"): "put",
        ("taker", "get"): "get",
        ("taker", "<running>"): "busy",
        ("ending", "sleep"): "ending",
        ("maker", "wait"): "make",
    }
    return names.get((function, called), "at no await")


def leaves_of(stacks: Iterable[tuple[str, ...]], function: str) -> set[str]:
    return {stack[-1] for stack in stacks if stack[1].startswith(function)}


@pytest.mark.parametrize("interpreter", WITH_TASKS, ids=str)
def test_the_time_of_tasks_is_what_the_program_measures(interpreter: Interpreter) -> None:
    with interpreter.spawn(
        [str(PROGRAMS / "measured_tasks.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as target:
        stdin, stdout = target.process.stdin, target.process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(line: str) -> dict[str, float]:
            stdin.write(f"{line}\n")
            stdin.flush()
            answer: dict[str, float] = json.loads(stdout.readline())
            return answer

        ask("")
        ask("begin")
        recording = enough_of(target.pid)
        truth = ask("end")
    measured: defaultdict[str, float] = defaultdict(float)
    stacks = times_of_stacks(recording)
    for stack, seconds in stacks.items():
        if stack[1] != "main":
            measured[place_of(stack)] += seconds
    stats = recording.stats
    assert stats["task_samples"] >= ENOUGH_SAMPLES
    assert stats["tasks_unproved"] < 0.2 * stats["task_samples"]
    whole, all_seen = sum(truth.values()), sum(measured.values())
    for place, seconds in truth.items():
        if place != "done":
            assert measured[place] / all_seen == pytest.approx(seconds / whole, abs=0.05), place
    # On a busy machine, the taker and the sleepers may hardly wait for the queue.
    states = {"<ready>", "<running>", "<not started>"}
    assert leaves_of(stacks, "sleeper") - states <= {
        "<waiting: sleep>",
        "<waiting: space in Queue>",
    }
    assert leaves_of(stacks, "taker") - states <= {"<waiting: item of Queue>"}
    assert leaves_of(stacks, "locked") - states == {"<waiting: sleep>", "<waiting: lock>"}
    assert leaves_of(stacks, "maker") - states == {"<waiting: tasks of wait()>"}
