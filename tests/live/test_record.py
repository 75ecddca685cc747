"""`pystack record` on real interpreters: what the file says of threads, processes, the GIL and garbage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from interpreters import required
from marks import each_of
from process_state import wait_until
from targets import PROGRAMS, Interpreter
from tool_runs import TOOL, TOOL_FOLDER, TOOL_TIMEOUT_S, account_of, run_tool

pytestmark = pytest.mark.live

# What the recorder does differs little between versions; what the sampler does is tested elsewhere.
_RELEASES = [one for one in required() if not (one.debug or one.jit) and one.version >= (3, 8)]
_WITH_GIL = [one for one in _RELEASES if not one.free_threaded]


def _some(interpreters: list[Interpreter]) -> pytest.MarkDecorator:
    return each_of(dict.fromkeys([interpreters[0], interpreters[-1]]))


each = _some(_RELEASES)
# The C library differs, too.
each_with_gil = each_of(
    dict.fromkeys([_WITH_GIL[0], _WITH_GIL[-1], *(one for one in required(musl=True) if one.musl)])
)


def record(path: Path, interpreter: Interpreter, program: str, *arguments: str) -> dict[str, Any]:
    """What is in the speedscope file."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options, rest = arguments[:at], arguments[at + 1 :]
    command = interpreter.command(str(PROGRAMS / program), *rest)
    done = run_tool("record", "-r", "200", "-o", path, *options, "--", *command)
    assert path.exists(), done.stderr
    document: dict[str, Any] = json.loads(path.read_text())
    document["status"], document["told"] = done.returncode, done.stderr
    return document


def functions(document: dict[str, Any], profile: dict[str, Any]) -> set[str]:
    frames = document["shared"]["frames"]
    return {frames[frame]["name"] for stack in profile["samples"] for frame in stack}


@each
def test_children_are_recorded_from_their_start(interpreter: Interpreter, tmp_path: Path) -> None:
    document = record(tmp_path / "x.json", interpreter, "family.py", "-s", "--", "2.5", "7")
    assert document["status"] == 7
    profiles = {}
    for profile in document["profiles"]:
        for name in ("forked", "spawned", "executed"):
            if name in functions(document, profile):
                profiles[name] = profile
    processes = document["pystack"]["target"]["processes"]
    assert len(processes) == 4, document["told"]
    assert document["pystack"]["target"]["other_processes"] >= 3
    assert "main" in functions(document, document["profiles"][0])
    pids = set()
    for name, profile in profiles.items():
        # Each works for 2.5 s; most of it was seen, however busy the machine is.
        assert name in functions(document, profile)
        seen_ns = sum(
            weight
            for stack, weight in zip(profile["samples"], profile["weights"], strict=True)
            if stack
        )
        assert seen_ns > 1e9, (name, document["told"])
        pids.add(profile["name"].rpartition(" ")[2])
    assert len(pids) == 3
    assert sum(profile["endValue"] for profile in document["profiles"]) == pytest.approx(
        4 * document["pystack"]["recording"]["duration_ns"], rel=0.01
    )


def test_a_shell_need_not_be_python(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    script = f"{sys.executable} -c 'import time; time.sleep(1)'; exit 9"
    done = run_tool("record", "-s", "-o", path, "--", "sh", "-c", script)
    assert done.returncode == 9
    target = json.loads(path.read_text())["pystack"]["target"]
    assert len(target["processes"]) == 1
    assert target["command"][0] == "sh"


def test_no_python_at_all_writes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    done = run_tool("record", "-s", "-o", path, "--", "sh", "-c", "sleep 0.3; exit 4")
    assert done.returncode == 4
    assert not path.exists()
    assert "nothing was written" in done.stderr
    with subprocess.Popen(["sleep", "100"]) as sleep:
        done = run_tool("record", "-s", "-d", "200ms", "-o", path, sleep.pid)
        sleep.kill()
    assert done.returncode == 3
    assert not path.exists()


@each_with_gil
def test_who_held_the_gil_and_who_waited(interpreter: Interpreter, tmp_path: Path) -> None:
    document = contended(interpreter, tmp_path)
    metadata = document["pystack"]
    busy = [thread for thread in metadata["threads"] if (thread["gil_held_ns"] or 0) > 1e8]
    assert len(busy) == 3
    for thread in busy:
        known_ns = thread["gil_held_ns"] + thread["gil_wait_ns"] + thread["gil_without_ns"]
        assert known_ns == pytest.approx(thread["seen_ns"], rel=0.02)
        assert thread["gil_wait_ns"] > 0.1 * thread["seen_ns"]  # two thirds, where it has the CPUs
        assert thread["gil_blamed_ns"] > 0.1 * thread["gil_held_ns"]
    idle = [thread for thread in metadata["threads"] if thread not in busy]
    assert all(thread["gil_without_ns"] > 0.9 * thread["seen_ns"] for thread in idle)
    gil = metadata["gil"]
    assert gil["held_ns"] < 1.1 * metadata["recording"]["duration_ns"]
    assert gil["unexplained_wait_ns"] < 0.5 * gil["wait_ns"]
    assert {entry["stack"][-1]["name"] for entry in gil["blamed"]} == {"spin"}
    assert "GIL: held" in document["told"]
    assert "longest waited for: spin (" in document["told"]
    # The mode: only time with the GIL has weight.
    weights = sum(
        weight
        for profile in document["profiles"]
        for stack, weight in zip(profile["samples"], profile["weights"], strict=True)
        if stack
    )
    assert weights == gil["held_ns"]


def contended(interpreter: Interpreter, folder: Path) -> dict[str, Any]:
    path, roles = folder / "x.json", folder / "roles.json"
    program = [str(PROGRAMS / "gil_contended.py"), str(roles)]
    with interpreter.spawn(program, stdin=subprocess.PIPE) as target:
        wait_until(roles.exists, "the threads")
        options = ["-r", "200", "-d", "3", "--mode", "gil", "-o", path]
        done = run_tool("record", *options, target.pid)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(path.read_text())
    document["told"] = done.stderr
    return document


@each_with_gil
def test_garbage_collection_is_a_frame_and_in_the_account(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    document = record(tmp_path / "x.json", interpreter, "garbage.py", "--", "2")
    frames = document["shared"]["frames"]
    (profile,) = document["profiles"]
    collecting_ns = sum(
        weight
        for stack, weight in zip(profile["samples"], profile["weights"], strict=True)
        if [frames[frame]["name"] for frame in stack[-2:]] == ["collect", "<garbage collection>"]
    )
    assert collecting_ns > 1e9
    assert document["pystack"]["gc_ns"] >= collecting_ns
    assert "garbage collection: " in document["told"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_the_file_and_leaves_the_target(number: int, tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    code = "import time\nwhile True: time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", code]) as target:
        time.sleep(0.3)
        with subprocess.Popen(
            [*TOOL, "record", "-o", str(path), str(target.pid)],
            cwd=TOOL_FOLDER,
            stderr=subprocess.PIPE,
            text=True,
        ) as tool:
            time.sleep(1.5)
            os.kill(tool.pid, number)
            told = tool.communicate(timeout=TOOL_TIMEOUT_S)[1]
        assert tool.returncode == 0
        assert target.poll() is None
        target.kill()
    assert path.read_text().startswith("<!DOCTYPE html>")
    for what in (" samples of 1 thread ", " Hz (requested 100 Hz)", "lost", "tool CPU"):
        assert what in account_of(told)


def test_progress_is_for_terminals_only(tmp_path: Path) -> None:
    code = "import time\nwhile True: time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", code]) as target:
        time.sleep(0.3)
        arguments = ["record", "-d", "1500ms", "-o", str(tmp_path / "x.json"), str(target.pid)]
        wide = {**os.environ, "COLUMNS": "200"}
        assert "\x1b" not in run_tool(*arguments).stderr
        ours, theirs = os.openpty()
        with subprocess.Popen(
            [*TOOL, *arguments], cwd=TOOL_FOLDER, stderr=theirs, env=wide
        ) as tool:
            os.close(theirs)
            told = b""
            while True:
                try:
                    told += os.read(ours, 4096)
                except OSError:  # the end of a terminal
                    break
            tool.wait(TOOL_TIMEOUT_S)
        os.close(ours)
        target.kill()
    assert b"Recording " in told
    assert b"coverage 1" in told or b"coverage 9" in told
    assert b"0 errors" in told


@each_of(one for one in _RELEASES if one.version >= (3, 14))
def test_stacks_have_the_name_of_their_asyncio_task(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    document = record(tmp_path / "x.json", interpreter, "tasks.py", "-r", "500", "--", "2")
    names = [frame["name"] for frame in document["shared"]["frames"]]
    seen_ns = {"the alpha": 0, "the beta": 0}
    before_ns = 0
    for profile in document["profiles"]:
        for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
            functions = [names[frame] for frame in stack]
            if "work" not in functions:
                continue
            coroutine = "alpha" if "alpha" in functions else "beta"
            if not any(name.startswith("<task") for name in functions):
                before_ns += weight
                continue
            # The marker stands where the event loop runs the task: below its outermost coroutine.
            at = functions.index(coroutine)
            assert functions[at - 1] == f"<task the {coroutine}>", functions
            assert ("deeper" in functions) == (coroutine == "beta")
            seen_ns[f"the {coroutine}"] += weight
    # They take turns of 3 ms, for 2 s.
    assert min(seen_ns.values()) > 0.5e9, seen_ns
    # asyncio was just imported, which is noticed a moment later.
    assert before_ns < 0.5e9


@pytest.mark.parametrize("way", ["exit", "abort", "exec"])
@each
def test_restless_targets_are_recorded_to_their_end(
    interpreter: Interpreter, way: str, tmp_path: Path
) -> None:
    document = record(tmp_path / "x.json", interpreter, "restless.py", "-r", "1000", "--", way)
    assert document["status"] == (128 + signal.SIGABRT if way == "abort" else 0), document["told"]
    seen = set().union(*(functions(document, one) for one in document["profiles"]))
    assert {"main", "short", "rest"} <= seen
    metadata = document["pystack"]
    counts = metadata["counts"]
    lost = counts["torn"] + counts["failed"] + counts["vanished"]
    assert counts["attempted"] == counts["taken"] + lost
    assert counts["taken"] == sum(thread["samples"] for thread in metadata["threads"])
    assert counts["torn"] <= 0.01 * counts["attempted"], counts
    duration_ns = metadata["recording"]["duration_ns"]
    for profile, thread in zip(document["profiles"], metadata["threads"], strict=True):
        assert sum(profile["weights"]) == pytest.approx(profile["endValue"], rel=1e-6)
        assert thread["seen_ns"] <= 1.01 * duration_ns
    # The main thread was there all the time, stopped or not.
    assert max(thread["seen_ns"] for thread in metadata["threads"]) > 0.8 * (
        duration_ns - (1e9 if way == "exec" else 0)
    )
