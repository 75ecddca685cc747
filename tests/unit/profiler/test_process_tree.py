from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from pystack_profiler import process_tree
from pystack_profiler.process_tree import ProcessTree


@pytest.fixture(params=["reported", "listed"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's number of the youngest process, and as where that cannot be trusted."""
    if request.param == "listed":
        monkeypatch.setattr(process_tree, "_reports_last_pid", lambda: False)


pytestmark = pytest.mark.usefixtures("_way")


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[str]]:
    """Does what is written to it."""
    with subprocess.Popen(
        ["sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
    ) as shell:
        yield shell
        os.killpg(shell.pid, signal.SIGKILL)


def tell(shell: subprocess.Popen[str], command: str) -> int:
    """The number that the command says."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"{command}\n")
    return int(shell.stdout.readline())


def found_within(tree: ProcessTree, pid: int, seconds: float = 10.0) -> list[int]:
    """All that are new up to that one."""
    new: list[int] = []
    deadline_s = time.monotonic() + seconds
    while pid not in new and time.monotonic() < deadline_s:
        new += tree.look()
    return new


def test_children_and_their_children_are_found(shell: subprocess.Popen[str]) -> None:
    tree = ProcessTree(shell.pid)
    assert tree.look() == []
    child = tell(shell, "sleep 100 & echo $!")
    assert found_within(tree, child) == [child]
    assert tree.look() == []
    grandchild = tell(shell, "sh -c 'sleep 100 & echo $!; wait' &")
    new = found_within(tree, grandchild)
    assert len(new) == 2
    assert tree.members == {shell.pid, child, *new}


def test_who_is_there_already_is_found_at_the_first_look(shell: subprocess.Popen[str]) -> None:
    grandchild = tell(shell, "sh -c 'sleep 100 & echo $!; wait' &")
    tree = ProcessTree(shell.pid)
    new = tree.look()
    assert len(new) == 2
    assert new[-1] == grandchild


def test_others_are_not_of_the_tree(shell: subprocess.Popen[str]) -> None:
    tree = ProcessTree(shell.pid)
    tree.look()
    with subprocess.Popen(["sleep", "100"]) as stranger:
        child = tell(shell, "sleep 100 & echo $!")
        assert found_within(tree, child) == [child]
        stranger.kill()


def test_the_children_of_who_has_ended_stay(shell: subprocess.Popen[str]) -> None:
    tree = ProcessTree(shell.pid)
    tree.look()
    between = tell(shell, "sh -c 'echo $$; sleep 100 & read x; exit' & ")
    new = found_within(tree, between)
    tree.forget(between)
    assert between not in tree.members
    assert set(new) - {between} <= tree.members


def test_many_at_once(shell: subprocess.Popen[str]) -> None:
    tree = ProcessTree(shell.pid)
    tree.look()
    last = tell(shell, "for i in $(seq 300); do sleep 100 & done; echo $!")
    new = found_within(tree, last)
    deadline_s = time.monotonic() + 10
    while len(new) < 300 and time.monotonic() < deadline_s:
        new += tree.look()
    # `seq` may have been seen as well.
    assert len(new) - 300 in (0, 1, 2)
    assert len(set(new)) == len(new)


def test_looking_is_cheap(shell: subprocess.Popen[str]) -> None:
    tree = ProcessTree(shell.pid)
    tree.look()
    begin_ns = time.thread_time_ns()
    for _ in range(200):
        tree.look()
    # Of a core, at a look each 15 ms; where all must be listed, it is a matter of how many run.
    assert (time.thread_time_ns() - begin_ns) / 200 < 15e6 * 0.2
