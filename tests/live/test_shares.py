"""Whether recordings tell the shares of time that the target really spent."""

from __future__ import annotations

import json
import math
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from interpreters import required
from marks import each_of
from process_state import wait_until
from targets import PROGRAMS, Interpreter
from tool_runs import run_tool

pytestmark = pytest.mark.live

_ALL = [one for one in required() if not one.debug]
each = each_of(_ALL)

# Rate, seconds, and by how many points the shares may be wrong on a machine with nothing else to do.
RATES = [(100, 60, 2.0), (1000, 10, 1.0)]
TIMEOUT_S = 120.0
FAST_RATE = "500"
FAST_SECONDS = "4"


@dataclass(frozen=True)
class Shares:
    """Where the machine had no CPU for the recorder, one sample stands for a long time, and the others for less."""

    percent: dict[str, float]  # of the time of each function
    samples: float  # of equal weight: how many the samples are worth
    missing: float  # percent of the time that was not sampled


def shares(folder: Path, *arguments: object, depth: int) -> Shares:
    """Of the functions that are at this depth of the stack, the outermost being 0, the innermost -1."""
    path = folder / "out.json"
    done = run_tool("record", "-f", "speedscope", "-o", path, *arguments, timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    found: Counter[str] = Counter()
    squares = missing = 0
    stacks = list(timed_stacks(path))
    assert len({thread for thread, *_ in stacks}) == 1
    for _, functions, weight_ns in stacks:
        if functions == ["<not sampled>"]:
            missing += weight_ns
        elif functions and depth < len(functions):
            found[functions[depth].partition(" ")[0]] += weight_ns
            squares += weight_ns**2
    time_ns = found.total()
    return Shares(in_percent(found), time_ns**2 / squares, 100 * missing / (time_ns + missing))


def deviation(samples: float) -> float:
    """The standard deviation of a share of one half, in points."""
    return 100 * math.sqrt(0.25 / samples)


def in_percent(values: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * value / sum(values.values()) for name, value in values.items()}


@pytest.mark.parametrize(("rate", "seconds", "points"), RATES, ids=[rate for rate, *_ in RATES])
@each_of(_ALL[-1:])
def test_known_shares(
    interpreter: Interpreter, rate: int, seconds: int, points: float, tmp_path: Path
) -> None:
    taken = tmp_path / "taken.json"
    command = interpreter.command(str(PROGRAMS / "shares.py"), str(seconds), str(taken))
    found = shares(tmp_path, "-r", rate, "--", *command, depth=2)
    truth = in_percent(json.loads(taken.read_text()))
    assert truth["half"] > 40
    # What is imported at the start is at this depth, too.
    got = in_percent({name: found.percent[name] for name in truth})
    # A busy machine has fewer samples.
    points += found.missing + 3 * max(0, deviation(found.samples) - deviation(rate * seconds))
    print("error in points:", {name: round(got[name] - truth[name], 2) for name in truth}, points)
    assert got == pytest.approx(truth, abs=points)


@each
def test_fast_calls_have_the_shares_of_a_stopped_target(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    """A target that is stopped cannot prefer stacks that last: that is the truth to compare with."""
    ready = tmp_path / "ready"
    command = [str(PROGRAMS / "calls.py"), str(ready), "recursion"]
    with interpreter.spawn(command, stdin=subprocess.DEVNULL) as target:
        wait_until(ready.exists, "the program")
        options = ("-r", FAST_RATE, "-d", FAST_SECONDS, target.pid)
        moving = shares(tmp_path, "--no-block", *options, depth=-1)
        stopped = shares(tmp_path, "--block", *options, depth=-1)
    assert {"tree", "down", "odd", "even", "recursion"} >= stopped.percent.keys()
    # Four standard deviations of the most frequent, half of all: 7 of these with 1,500 samples each.
    points = 1 + 4 * math.hypot(deviation(moving.samples), deviation(stopped.samples))
    expected = dict.fromkeys(moving.percent, 0.0) | stopped.percent
    assert moving.percent == pytest.approx(expected, abs=points)


def test_weights_add_up_to_lifetimes(tmp_path: Path) -> None:
    interpreter = next(one for one in reversed(_ALL) if not one.free_threaded)
    ready, lives, path = tmp_path / "ready", tmp_path / "lives", tmp_path / "out.json"
    command = interpreter.command(str(PROGRAMS / "lifetimes.py"), str(ready), str(lives))
    done = run_tool("record", "-r", "1000", "-o", path, "--", *command)
    assert done.returncode == 0, done.stderr
    threads = json.loads(path.read_text())["pystack"]["threads"]
    # A busy machine may leave the recorder without a CPU for a while: that is a gap. Threads that begin or end
    # within one are not known in all of it.
    gaps_s = max(one["gap_ns"] for one in threads) / 1e9
    told_s = {one["name"]: (one["seen_ns"] + one["gap_ns"]) / 1e9 for one in threads}
    for name, lived_s in json.loads(lives.read_text()).items():
        assert told_s[name] == pytest.approx(lived_s, rel=0.005, abs=0.01 + gaps_s), told_s


@each
def test_sleepers_are_seen_where_they_are(interpreter: Interpreter, tmp_path: Path) -> None:
    """Threads that rest are not looked at; what they do when they wake must not be missed."""
    times, path = tmp_path / "times.json", tmp_path / "out.json"
    command = interpreter.command(str(PROGRAMS / "sleepers.py"), str(times))
    done = run_tool("record", "-r", "1000", "-o", path, "--", *command)
    assert done.returncode == 0, done.stderr
    truth = json.loads(times.read_text())
    seen_s = {name.split()[0]: found for name, found in seconds_by_function(path).items()}
    threads = json.loads(path.read_text())["pystack"]["threads"]
    gaps_s = {thread["name"]: thread["gap_ns"] / 1e9 for thread in threads}
    assert len(truth) == 20
    for name, lived in truth.items():
        got = {function: seen_s[name][function] for function in lived}
        # Each was away for 0.2 s. What a busy machine keeps the recorder from seeing is said.
        assert got == pytest.approx(lived, abs=0.1 + gaps_s[name]), name


def seconds_by_function(path: Path) -> dict[str, dict[str, float]]:
    """For each thread of a speedscope file: how long each function was on its stack."""
    found: dict[str, dict[str, float]] = {}
    for thread, functions, weight_ns in timed_stacks(path):
        seconds = found.setdefault(thread, defaultdict(float))
        for name in set(functions):
            seconds[name] += weight_ns / 1e9
    return found


def timed_stacks(path: Path) -> Iterator[tuple[str, list[str], int]]:
    """Of a speedscope file: the thread, its functions from the outermost in, and the nanoseconds."""
    document = json.loads(path.read_text())
    names = [frame["name"] for frame in document["shared"]["frames"]]
    for profile in document["profiles"]:
        for stack, weight_ns in zip(profile["samples"], profile["weights"], strict=True):
            yield profile["name"], [names[frame] for frame in stack], weight_ns
