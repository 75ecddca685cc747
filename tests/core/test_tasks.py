"""asyncio tasks in cores equal those of the process that died."""

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
from interpreters import required
from targets import Interpreter
from task_compare import task_differences, variable_differences

pytestmark = pytest.mark.live

OLDEST_MINOR = 7


@pytest.mark.parametrize(
    "interpreter", [one for one in required() if one.version[1] >= OLDEST_MINOR], ids=str
)
def test_tasks_of_a_core(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    with mortal_target(interpreter, "waiting_tasks.py", tmp_path) as running:
        core = kernel_core(running.pid, tmp_path, signal.SIGABRT)
        dump = core_json(core, "--locals", *search_options(interpreter))
    found = task_differences(running.truth, dump) + variable_differences(running.truth, dump)
    if found:
        pytest.fail("\n".join([f"{len(found)} differences:", *found[:40]]), pytrace=False)
