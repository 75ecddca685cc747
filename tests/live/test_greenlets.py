"""Suspended greenlets in dumps: the target says itself where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from interpreters import with_greenlets
from targets import Interpreter
from task_compare import greenlet_differences
from tool_runs import dump_json, run_tool
from truthful_target import TruthfulTarget, truthful_target
from wheels import package_for

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", params=with_greenlets(), ids=str)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TruthfulTarget]:
    """One process, which every test here looks at in turn."""
    interpreter: Interpreter = request.param
    folder = tmp_path_factory.mktemp("greenlets")
    package = package_for(interpreter, "greenlet", folder)
    with truthful_target(
        interpreter, "suspended_greenlets.py", folder, arguments=[str(package)]
    ) as running:
        yield running


@pytest.mark.parametrize("options", [[], ["--no-block"], ["--locals"]], ids=str)
def test_greenlets_are_those_of_the_target(target: TruthfulTarget, options: list[str]) -> None:
    target.wait_for_barrier()
    dump = dump_json(target.pid, *options)
    assert not dump["problems"]
    found = greenlet_differences(target.truth, dump)
    assert not found, "\n".join(found)
    assert len(target.truth["greenlets"]) == 12


def test_the_text_has_them_below_their_threads(target: TruthfulTarget) -> None:
    shown = run_tool("dump", "--no-source", target.pid)
    assert shown.returncode == 0, shown.stderr
    assert "12 greenlets" in shown.stdout.splitlines()[0]
    assert shown.stdout.count("  6 suspended greenlets of this thread:\n") == 2
    assert re.search(
        r"^    (2 greenlets \()?__main__.Worker\)?: through_c > (through_c\.)?<lambda>",
        shown.stdout,
        re.M,
    )
    assert re.search(r"^    main greenlet: <module> > run > play", shown.stdout, re.M)
