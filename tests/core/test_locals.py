"""The values that `core --locals` shows: those of the living process, and none that breaks it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from core_files import core_json, kernel_core, mortal_target, need_kernel_cores, search_options
from damaged_cores import read_damaged
from interpreters import required
from targets import Interpreter
from tool_runs import dump_json

pytestmark = pytest.mark.live

CHANGED = 2000


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
    interpreters = [one for one in required() if one.root is None and not one.free_threaded]
    results = read_damaged(path, tmp_path, "heap", CHANGED // len(interpreters))
    listed = [result for result in results if result["error"] is None]
    assert len(listed) > len(results) / 2
    for result in listed:
        assert result["threads_without_locals"] == result["threads"]
    assert sum(result["unreadable"] for result in listed) > len(listed)
