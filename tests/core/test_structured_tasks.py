"""Tasks of trio and greenlets in cores equal those of the process that died."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from core_files import (
    core_json,
    kernel_core,
    mortal_target,
    need_kernel_cores,
    search_options,
)
from interpreters import TRIO_MINORS, required, with_greenlets
from targets import Interpreter
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
