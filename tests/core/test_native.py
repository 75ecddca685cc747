"""Native stacks of cores: those of gdb on the same core, with the Python frames in their places."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from core_files import core_json, gcore, kernel_core, limits, need_gdb, need_kernel_cores
from gdb_stacks import gdb_stacks
from marks import each_interpreter
from native_scenes import EXPECTED, build_extension, scene_target, seen
from native_stacks import check_against_gdb, names, search_path
from targets import Interpreter

pytestmark = pytest.mark.live


def kinds(thread: Any) -> list[str]:
    return [frame["kind"] for frame in thread["frames"]]


@each_interpreter
@pytest.mark.parametrize("scene", ["extension", "threads"])
def test_the_stacks_of_gdb(interpreter: Interpreter, scene: str, tmp_path: Path) -> None:
    need_gdb()
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, scene, tmp_path, preexec_fn=limits) as target:
        # gdb leaves out the stacks of newer C libraries' threads.
        if interpreter.root is None:
            core = gcore(target.pid, tmp_path)
        else:
            core = kernel_core(target.pid, tmp_path, signal.SIGABRT)
    document = core_json(
        core, "--native-all", "--lib-search-path", search_path(interpreter, tmp_path)
    )
    stacks = gdb_stacks(interpreter, core, tmp_path)
    assert {thread["tid"] for thread in document["threads"]} == set(stacks)
    for thread in document["threads"]:
        assert "gap" not in kinds(thread)
        check_against_gdb(thread, stacks[thread["tid"]])
    if scene == "extension":
        assert seen(document["threads"][0]["frames"]) == EXPECTED


@each_interpreter
def test_a_crash_in_an_extension(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    need_gdb()
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, "crash", tmp_path, preexec_fn=limits) as target:
        assert target.process.stdin is not None
        target.process.stdin.write(b"x")
        target.process.stdin.flush()
        core = kernel_core(target.pid, tmp_path)
    document = core_json(core, "--native", "--lib-search-path", search_path(interpreter, tmp_path))
    [thread] = document["threads"]
    assert "gap" not in kinds(thread)
    wanted = ["crash", "builtins.sorted", "<lambda>", "before", "native_ext.crash"]
    assert [name for name in names(thread) if name in wanted] == wanted
    assert names(thread)[-1] == "ext::write_to_null"
    check_against_gdb(thread, gdb_stacks(interpreter, core, tmp_path)[thread["tid"]])
