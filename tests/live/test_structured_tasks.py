"""Tasks of trio and anyio in dumps: the target says itself what its tasks are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from interpreters import TRIO_MINORS, required
from targets import Interpreter
from task_compare import task_differences, variable_differences
from tool_runs import dump_json, run_tool
from truthful_target import TruthfulTarget, truthful_target
from wheels import package_for

pytestmark = pytest.mark.live

WITH_TRIO = [one for one in required() if one.version[1] in TRIO_MINORS]
BLOCK = pytest.mark.parametrize("options", [[], ["--no-block"]], ids=["stopped", "not stopped"])


@pytest.fixture(scope="module", params=WITH_TRIO, ids=str)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TruthfulTarget]:
    """One process, which every test here looks at in turn."""
    interpreter: Interpreter = request.param
    folder = tmp_path_factory.mktemp("trio")
    packages = package_for(interpreter, "trio", folder)
    with truthful_target(
        interpreter, "trio_tasks.py", folder, arguments=[str(packages)]
    ) as running:
        yield running


@BLOCK
def test_tasks_of_trio_are_those_of_the_target(target: TruthfulTarget, options: list[str]) -> None:
    target.wait_for_barrier()
    dump = dump_json(target.pid, "--locals", *options)
    assert not dump["problems"]
    found = task_differences(target.truth, dump) + variable_differences(target.truth, dump)
    if found:
        pytest.fail("\n".join([f"{len(found)} differences:", *found[:40]]), pytrace=False)
    assert {task["library"] for task in dump["tasks"]} == {"trio"}
    names = {task["name"]: task for task in dump["tasks"]}
    for name in ("family 0 0", "busy nursery", "n\u00e4me \u4e16"):
        assert 0 < names[name]["waits_for"]["remaining_s"] <= 100_000
    assert names["lock holder"]["waits_for"]["remaining_s"] is None


def test_threads_have_their_runs(target: TruthfulTarget) -> None:
    dump = dump_json(target.pid)
    runs = {one["event_loop"]["id"]: one for one in dump["threads"] if one["event_loop"]}
    assert len(runs) == 2
    assert {one["event_loop"]["type"] for one in runs.values()} == {"trio._core._run.Runner"}
    named = {task["name"]: task for task in dump["tasks"]}
    main, other = runs[named["lock holder"]["loop"]], runs[named["of the other run"]["loop"]]
    assert (main["is_main"], other["is_main"]) == (True, False)
    assert main["event_loop"]["running_task"] == named["runner"]["id"]
    assert other["event_loop"]["running_task"] is None


def test_the_text_is_a_tree_of_nurseries(target: TruthfulTarget) -> None:
    shown = run_tool("dump", "--tasks", "--no-source", target.pid)
    assert shown.returncode == 0, shown.stderr
    heads = re.findall(r"^ +Run of trio in this thread: .*", shown.stdout, re.M)
    assert len(heads) == 2
    assert heads[0].endswith("task runner is running")
    family = re.search(
        r"^( +)family: has_children > Nursery\n(?: .*\n)*?\1  2 tasks family 0, family 1: .*\n"
        r"(?: .*\n)*?\1    4 tasks family 0 0 \.\.\. family 1 1: sleep \(.* s left\)\n",
        shown.stdout,
        re.M,
    )
    assert family, shown.stdout
    assert re.search(r"lock taker: .*Lock.acquire \(held by lock holder\)", shown.stdout)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("interpreter", WITH_TRIO, ids=str)
def test_tasks_of_anyio(interpreter: Interpreter, backend: str, tmp_path: Path) -> None:
    packages = package_for(interpreter, "trio", tmp_path)
    arguments = [str(packages), backend]
    with truthful_target(interpreter, "anyio_tasks.py", tmp_path, arguments=arguments) as running:
        dumps = [dump_json(running.pid), dump_json(running.pid, "--no-block")]
    for dump in dumps:
        named = {task["name"]: task for task in dump["tasks"]}
        ids = {task["id"]: task["name"] for task in dump["tasks"]}
        assert {task["library"] for task in dump["tasks"]} == {backend}
        main = [name for name in named if name.endswith("main")]
        for true in running.truth["tasks"]:
            task = named[true["name"]]
            wait = task["waits_for"]
            assert (wait and wait["kind"]) == true["kind"], true
            assert [ids[one] for one in task["awaited_by"]] == [true["parent"] or main[0]], true
        assert named["runner"]["state"] == "running"
        # trio does not know who has a semaphore.
        for taker in ("lock taker", "semaphore taker") if backend == "asyncio" else ("lock taker",):
            assert [ids[one] for one in named[taker]["waits_for"]["holders"]] == ["holder"]
