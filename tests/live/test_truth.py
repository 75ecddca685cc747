"""What `dump` says equals what the target itself says, for every interpreter, stopped and not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from interpreters import required
from process_state import run_state, thread_ids
from targets import Interpreter
from tool_runs import dump_json
from truth_compare import differences
from truthful_target import TruthfulTarget, truthful_target

pytestmark = pytest.mark.live

# Dumps without a stop, until no stack was torn.
MOST_TRIES = 20

# Program and options of the interpreter.
PROGRAMS: dict[str, tuple[str, list[str]]] = {
    "stage": ("stage.py", []),
    "deep": ("deep.py", []),
    "subinterpreters": ("subinterpreters.py", []),
    "forked": ("forked.py", []),
    "finalizing": ("finalizing.py", []),
}
IN_A_CONTAINER = ("3.13-pyenv", "3.11-debian", "3.14-debian-sid", "3.15-debian-sid")
# Options of the interpreter that change what there is to read.
WITH_OPTIONS = {
    "optimized": ["-OO", "-s"],
    "no columns": ["-X", "no_debug_ranges"],
    "no frozen modules": ["-X", "frozen_modules=off"],
}


def cases() -> Iterator[Any]:
    for interpreter in required(musl=True):
        for name, (program, options) in PROGRAMS.items():
            yield pytest.param((interpreter, program, options, False), id=f"{interpreter}-{name}")
        if interpreter.name in IN_A_CONTAINER:
            yield pytest.param(
                (interpreter, "stage.py", [], True), id=f"{interpreter}-stage in a container"
            )
        if interpreter.version >= (3, 11) and not interpreter.debug:
            for name, options in WITH_OPTIONS.items():
                yield pytest.param(
                    (interpreter, "finalizing.py", options, False), id=f"{interpreter}-{name}"
                )


@pytest.fixture(scope="module", params=cases())
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TruthfulTarget]:
    """One process, which every test here looks at in turn."""
    interpreter: Interpreter
    interpreter, program, options, container = request.param
    folder = tmp_path_factory.mktemp("truth")
    with truthful_target(
        interpreter, program, folder, options=options, container=container
    ) as running:
        yield running


@pytest.fixture(scope="module", params=[[], ["--no-block"]], ids=["stopped", "not stopped"])
def dump(request: pytest.FixtureRequest, target: TruthfulTarget) -> dict[str, Any]:
    target.wait_for_barrier()
    dump = dump_json(target.pid, *request.param)
    # A stack of a hundred thousand frames takes longer to copy than a busy machine leaves us the CPU.
    tries = 1
    while any(thread["stack_end"] == "torn" for thread in dump["threads"]) and tries < MOST_TRIES:
        dump = dump_json(target.pid, *request.param)
        tries += 1
    assert dump["stopped"] is (request.param == [])
    return dump


def test_dump_equals_truth(target: TruthfulTarget, dump: dict[str, Any]) -> None:
    found = differences(target.truth, dump)
    if found:
        # Not an assertion: pytest would print both sides, which are megabytes.
        pytest.fail("\n".join([f"{len(found)} differences:", *found[:40]]), pytrace=False)
    assert (dump["stop_ns"] is not None) is dump["stopped"]
    assert not dump["was_stopped"]
    target.wait_for_barrier()
    assert "T" not in {run_state(target.pid, tid) for tid in thread_ids(target.pid)}


def test_nobody_has_the_gil_or_collects(target: TruthfulTarget, dump: dict[str, Any]) -> None:
    states = {thread["gil"] for thread in dump["threads"]}
    # Without a GIL there is nothing to know.
    assert states <= ({"none"} if target.truth["gil"] else {"none", None})
    collecting = {one["gc_collecting"] for one in dump["interpreters"]}
    # Up to 3.6 it is a static variable without a name in stripped files.
    assert collecting == {False} or (minor(target) < 7 and collecting == {None})
    finalizing = {one["finalizing"] for one in dump["interpreters"] if one["id"] == 0}
    assert finalizing <= {target.truth["finalizing"], None}


def test_scenes_of_the_newest_version_are_all_there(
    request: pytest.FixtureRequest, target: TruthfulTarget
) -> None:
    """A scene that is skipped by mistake would test nothing and look well."""
    allowed = ("tables before", "the syntax came with", "code.replace() came with", "from 3.11 on")
    for scene, reason in target.truth["skipped"].items():
        if reason == "no sqlite3" and request.node.callspec.params["target"][0].musl:
            continue  # That interpreter was built without it.
        assert reason.startswith(allowed), f"{scene}: {reason}"
    if minor(target) >= 14:
        assert set(target.truth["skipped"]) <= {"code_with_empty_table"}


def minor(target: TruthfulTarget) -> int:
    return int(target.truth["version"].split(".")[1])
