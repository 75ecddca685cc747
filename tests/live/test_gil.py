"""GIL and collector: who has it, who waits for it, and whether a collection is running."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pystack
from interpreters import required
from marks import each_of
from process_state import FUTEX_SYSCALL, is_reading, system_call, thread_ids, wait_until
from targets import PROGRAMS, Interpreter, Target
from tool_runs import dump_json
from truth_compare import differences
from truthful_target import truthful_target

pytestmark = pytest.mark.live

DUMPS = 100
BLOCK = pytest.mark.parametrize("block", [True, False], ids=["stopped", "not stopped"])


def with_gil() -> Iterator[tuple[str, Interpreter, dict[str, str]]]:
    """Each interpreter that has a GIL, or can have one: name, interpreter, environment."""
    for interpreter in required(musl=True):
        if interpreter.free_threaded:
            yield f"{interpreter} with the GIL on", interpreter, {"PYTHON_GIL": "1"}
        else:
            yield interpreter.name, interpreter, {}


GIL_CASES = [pytest.param((interp, env), id=name) for name, interp, env in with_gil()]


@contextlib.contextmanager
def started(
    interpreter: Interpreter, folder: Path, program: str, *arguments: object, **spawn: Any
) -> Iterator[tuple[Target, dict[str, Any]]]:
    """The program, and the facts that it writes to the file that is its first argument."""
    facts_path = folder / "facts.json"
    errors = folder / "stderr.txt"
    with (
        errors.open("wb") as stderr,
        interpreter.spawn(
            [str(PROGRAMS / program), str(facts_path), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stderr=stderr,
            **spawn,
        ) as target,
    ):

        def told() -> bool:
            assert target.process.poll() is None, errors.read_text()
            return facts_path.exists()

        wait_until(told, f"facts of {program}")
        yield target, json.loads(facts_path.read_text())


def count_reading(pid: int, fd: int) -> int:
    return sum(1 for tid in thread_ids(pid) if is_reading(pid, tid, fd))


@contextlib.contextmanager
def gil_held(
    interpreter: Interpreter, folder: Path, way: str, env: dict[str, str]
) -> Iterator[tuple[int, dict[int, str]]]:
    """A process in which one thread has the GIL and eight wait: pid, and state by ident."""
    wake, hold = folder / "wake", folder / "hold"
    os.mkfifo(wake)
    os.mkfifo(hold)
    with started(interpreter, folder, "gil_held.py", wake, hold, way, env=env) as (target, facts):
        pid, roles = target.pid, facts["roles"]
        wait_until(lambda: count_reading(pid, facts["hold_fd"]) == 1, "the holder in its read")
        assert count_reading(pid, facts["wake_fd"]) == len(roles["waits"])
        wake.write_bytes(b"x" * len(roles["waits"]))
        wait_until(
            lambda: (
                count_reading(pid, facts["wake_fd"]) == 0
                and count_futex(pid) >= len(roles["waits"])
            ),
            "all waiters waiting",
        )
        yield pid, {ident: state for state, idents in roles.items() for ident in idents}
        assert target.process.poll() is None


def count_futex(pid: int) -> int:
    return sum(1 for tid in thread_ids(pid) if system_call(pid, tid)[0] == FUTEX_SYSCALL)


def gil_states(threads: Any) -> dict[int, str | None]:
    return {
        thread["python_thread_id"]: thread["gil"]
        for thread in (one if isinstance(one, dict) else one._asdict() for one in threads)
    }


@pytest.fixture(scope="module", params=GIL_CASES)
def held(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, dict[int, str]]]:
    interpreter, env = request.param
    with gil_held(interpreter, tmp_path_factory.mktemp("gil"), "plainly", env) as running:
        yield running


@BLOCK
def test_holder_and_waiters(held: tuple[int, dict[int, str]], block: bool) -> None:
    """The waiters wake every 5 ms to ask for the GIL, so some are always between two waits."""
    pid, expected = held
    wrong: collections.Counter[str] = collections.Counter()
    bad_dumps = 0
    for _ in range(DUMPS):
        states = gil_states(pystack.dump(pid, block=block).threads)
        assert states.keys() == expected.keys()
        errors = [
            f"{expected[ident]} is {states[ident]}"
            for ident in states
            if states[ident] != expected[ident]
        ]
        wrong.update(errors)
        bad_dumps += bool(errors)
    assert not wrong, f"{bad_dumps} of {DUMPS} dumps are wrong: {dict(wrong)}"
    command = dump_json(pid, *([] if block else ["--no-block"]))
    assert gil_states(command["threads"]) == expected


@BLOCK
@pytest.mark.parametrize("case", GIL_CASES)
def test_contention_of_pure_python(
    case: tuple[Interpreter, dict[str, str]], block: bool, tmp_path: Path
) -> None:
    """Nobody can say who holds it at a given moment, but not who may and how many can."""
    interpreter, env = case
    with started(interpreter, tmp_path, "gil_contended.py", env=env) as (target, facts):
        busy, idle = facts["roles"]["busy"], facts["roles"]["idle"]
        wait_until(lambda: count_reading(target.pid, 0) == len(idle), "the idle threads")
        seen: collections.Counter[str | None] = collections.Counter()
        holders: collections.Counter[int] = collections.Counter()
        for number in range(DUMPS):
            states = gil_states(pystack.dump(target.pid, block=block).threads)
            assert {states[ident] for ident in idle} == {"none"}, f"dump {number}"
            holding = [ident for ident in busy if states[ident] == "holds"]
            assert len(holding) <= 1, f"dump {number}: {len(holding)} hold the GIL"
            seen.update(states[ident] for ident in busy)
            holders.update(holding)
    # Between two holders there is a moment without: until the next one has a CPU, which on a busy
    # machine takes a part of the 5 milliseconds that it then holds it for.
    assert seen["holds"] >= 0.5 * DUMPS, dict(seen)
    assert seen["none"] + seen["dropping"] <= 0.1 * DUMPS * len(busy), dict(seen)
    assert None not in seen
    assert set(holders) == set(busy), "each must have been seen with it"


@BLOCK
@pytest.mark.parametrize("case", GIL_CASES)
def test_nobody_holds_it(
    case: tuple[Interpreter, dict[str, str]], block: bool, tmp_path: Path
) -> None:
    interpreter, env = case
    with truthful_target(interpreter, "stage.py", tmp_path, env=env) as target:
        for _ in range(DUMPS // 5):
            states = set(gil_states(pystack.dump(target.pid, block=block).threads).values())
            assert states == {"none"}


FREE_THREADED = [
    pytest.param(interpreter, id=interpreter.name)
    for interpreter in required()
    if interpreter.free_threaded
]


@BLOCK
@pytest.mark.parametrize("interpreter", FREE_THREADED)
def test_without_a_gil(interpreter: Interpreter, block: bool, tmp_path: Path) -> None:
    """All run at once. To say that one holds or waits for what is not there would be wrong."""
    with started(interpreter, tmp_path, "gil_contended.py") as (target, _):
        for _ in range(DUMPS):
            states = gil_states(pystack.dump(target.pid, block=block).threads)
            assert set(states.values()) <= {"none", None}


@BLOCK
@pytest.mark.parametrize("way", ["explicit", "automatic", "over"])
@each_of(required(musl=True))
def test_collection_with_the_gil_free(
    interpreter: Interpreter, way: str, block: bool, tmp_path: Path
) -> None:
    """A finalizer that the collector called blocks; the collection is not over."""
    with truthful_target(interpreter, "collecting.py", tmp_path, arguments=[way]) as target:
        dump = dump_json(target.pid, *([] if block else ["--no-block"]))
        assert differences(target.truth, dump) == []
        check_collection(dump, collecting=way != "over", interpreter=interpreter)
        by_name = {thread["name"]: thread["gc_collecting"] for thread in dump["threads"]}
        assert by_name["bystander"] is not True
        assert by_name["MainThread"] is not True
        assert by_name[way] is not (way == "over")


@BLOCK
@pytest.mark.parametrize("case", GIL_CASES)
def test_collection_by_the_holder_of_the_gil(
    case: tuple[Interpreter, dict[str, str]], block: bool, tmp_path: Path
) -> None:
    interpreter, env = case
    with gil_held(interpreter, tmp_path, "collecting", env) as (pid, expected):
        dump = dump_json(pid, *([] if block else ["--no-block"]))
        check_collection(dump, collecting=True, interpreter=interpreter)
        for thread in dump["threads"]:
            # That the holder of the GIL is the one that collects is likely and no more: a finalizer
            # may have let go of it. But it may not be denied, and of the others not be said.
            if expected[thread["python_thread_id"]] == "holds":
                assert thread["gc_collecting"] is not False
            else:
                assert thread["gc_collecting"] is not True


def check_collection(dump: dict[str, Any], *, collecting: bool, interpreter: Interpreter) -> None:
    [main] = dump["interpreters"]
    if interpreter.version < (3, 7) and main["gc_collecting"] is None:
        return  # a static variable there, without a name in stripped files
    assert main["gc_collecting"] is collecting
