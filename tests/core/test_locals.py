"""The values that `core --locals` shows: those of the living process, and none that breaks it."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path
from typing import Any

import pytest

from core_files import (
    core_json,
    kernel_core,
    mortal_target,
    need_kernel_cores,
    script_target,
    search_options,
)
from damaged_cores import read_damaged
from interpreters import required
from targets import Interpreter
from tool_runs import dump_json

pytestmark = pytest.mark.live

# For each interpreter: a full matrix has nine of them.
CHANGED = 80

DEPTH = 5000
MOST_SHOWN = 5000
DEEP = f"""
import os, sys
sys.setrecursionlimit(10**6)
def down(n, kept):
    if n == 0:
        os.abort()
    down(n - 1, kept)
down({DEPTH}, "text")
"""


def limits(truth: dict[str, Any]) -> list[str]:
    """Those for which the program says what the values look like."""
    named = truth["limits"]
    return ["--locals", *(f"--{name.replace('_', '-')}={named[name]}" for name in sorted(named))]


def values_core(interpreter: Interpreter, folder: Path) -> tuple[dict[str, Any], Path, list[str]]:
    """What the living process was said to hold, its core, and the options for both."""
    need_kernel_cores()
    with mortal_target(interpreter, "values.py", folder) as target:
        options = limits(target.truth)
        live = dump_json(target.pid, *options)
        return live, kernel_core(target.pid, folder, signal.SIGABRT), options


@pytest.mark.parametrize("interpreter", required(), ids=str)
def test_same_as_alive(interpreter: Interpreter, tmp_path: Path) -> None:
    live, path, options = values_core(interpreter, tmp_path)
    core = core_json(path, *options, *search_options(interpreter))
    different = []
    count = 0
    for one, other in zip(live["threads"], core["threads"], strict=True):
        for alive, dead in zip(one["frames"], other["frames"], strict=True):
            count += len(alive["variables"])
            if alive != dead:
                pairs = zip(alive["variables"], dead["variables"], strict=False)
                different += [f"{dead['function']}: {pair}" for pair in pairs if pair[0] != pair[1]]
    assert not different
    assert [one["frames"] for one in core["threads"]] == [one["frames"] for one in live["threads"]]
    assert count > 200


@pytest.mark.parametrize(
    "interpreter",
    [one for one in required() if one.root is None and not one.free_threaded],
    ids=str,
)
def test_changed_values_lose_no_frames(interpreter: Interpreter, tmp_path: Path) -> None:
    """Whatever the heap holds: the frames are those that are listed without `--locals`."""
    _, path, _ = values_core(interpreter, tmp_path)
    results = read_damaged(path, tmp_path, "heap", CHANGED)
    listed = [result for result in results if result["error"] is None]
    assert len(listed) > len(results) / 2
    for result in listed:
        assert result["threads_without_locals"] == result["threads"]
    assert sum(result["unreadable"] for result in listed) > len(listed)


# Older ones overflow the C stack.
@pytest.mark.parametrize(
    "interpreter", [one for one in required() if one.version >= (3, 11)], ids=str
)
def test_of_a_deep_stack_its_ends_are_shown_and_the_rest_is_counted(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    need_kernel_cores()
    with script_target(interpreter, DEEP, tmp_path) as target:
        path = kernel_core(target.pid, tmp_path)
    document = core_json(path, "--locals", *search_options(interpreter))
    frames = [frame for frame in document["threads"][0]["frames"] if frame["function"] == "down"]
    assert len(frames) == DEPTH + 1
    assert all(len(frame["variables"]) + frame["variables_omitted"] == 2 for frame in frames)
    is_shown = [bool(frame["variables"]) for frame in frames]
    assert is_shown[0]
    assert is_shown[-1]
    # Two ends, and one gap.
    assert sum(one != other for one, other in itertools.pairwise(is_shown)) == 2
    assert MOST_SHOWN / 2 < 2 * sum(is_shown) <= MOST_SHOWN
