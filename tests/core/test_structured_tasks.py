"""Tasks of trio, greenlets and circles of tasks in cores are those of the process that died."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from core_files import (
    core_json,
    kernel_core,
    mortal_target,
    need_kernel_cores,
    script_target,
    search_options,
)
from interpreters import TRIO_MINORS, required, with_greenlets
from process_state import wait_until
from targets import PROGRAMS, Interpreter
from task_compare import greenlet_differences, task_differences, variable_differences
from wheels import package_for

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    "interpreter", [one for one in required() if one.version[1] in TRIO_MINORS], ids=str
)
def test_tasks_of_trio_in_a_core(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    arguments = [str(package_for(interpreter, "trio", tmp_path))]
    with mortal_target(interpreter, "trio_tasks.py", tmp_path, arguments=arguments) as running:
        core = kernel_core(running.pid, tmp_path, signal.SIGABRT)
        dump = core_json(core, "--locals", *search_options(interpreter))
    found = task_differences(running.truth, dump) + variable_differences(running.truth, dump)
    if found:
        pytest.fail("\n".join([f"{len(found)} differences:", *found[:40]]), pytrace=False)


@pytest.mark.parametrize("interpreter", with_greenlets(), ids=str)
def test_greenlets_in_a_core(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    arguments = [str(package_for(interpreter, "greenlet", tmp_path))]
    with mortal_target(
        interpreter, "suspended_greenlets.py", tmp_path, arguments=arguments
    ) as running:
        core = kernel_core(running.pid, tmp_path, signal.SIGABRT)
        dump = core_json(core, *search_options(interpreter))
    found = greenlet_differences(running.truth, dump)
    assert not found, "\n".join(found)


_ASYNCIO = [one for one in required() if one.version[1] >= 7]


@pytest.mark.parametrize("interpreter", [_ASYNCIO[0], _ASYNCIO[-1]], ids=str)
def test_circles_of_tasks_in_a_core(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    facts = tmp_path / "facts"
    code = (PROGRAMS / "task_circles.py").read_text()
    with script_target(interpreter, code, tmp_path, arguments=[str(facts)]) as target:
        wait_until(facts.exists, "the tasks wait")
        core = kernel_core(target.pid, tmp_path, signal.SIGABRT)
        dump = core_json(core, *search_options(interpreter))
    truth = json.loads(facts.read_text())
    circles = [sorted(truth["names"][str(one)] for one in row) for row in dump["task_deadlocks"]]
    assert sorted(circles) == sorted(map(sorted, truth["circles"]))
