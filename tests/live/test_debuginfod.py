"""Names of native frames from debuginfod servers: only when asked for, and never at the target's cost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core_files import core_json, gcore, need_gdb
from debug_server import debug_server, silent_server, strip_into
from interpreters import available
from native_scenes import build_extension, scene_target
from process_state import wait_until
from targets import Interpreter
from tool_runs import TOOL, TOOL_FOLDER, dump_json, run_tool

pytestmark = pytest.mark.live

SCENE = "extension_only"
#: What the C++ functions of the scene are called.
NAMES = ["ext::apply", "ext::call_back", "ext::Visitor::visit"]


@pytest.fixture
def interpreter() -> Interpreter:
    """One that is no root of its own, so that gdb can write cores of it."""
    return next(one for one in reversed(available()) if one.root is None)


@pytest.fixture
def served(interpreter: Interpreter, tmp_path: Path) -> Path:
    """What a server has: the debug file of the extension, which itself is stripped."""
    build_extension(interpreter, tmp_path)
    folder = tmp_path / "served"
    strip_into(tmp_path / "native_ext.so", folder)
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of the tool: with a cache of its own, and without servers."""
    kept = {name: value for name, value in os.environ.items() if "DEBUGINFOD" not in name}
    return {**kept, "DEBUGINFOD_CACHE_PATH": str(folder / "cache"), **more}


def of_extension(document: dict[str, Any]) -> list[Any]:
    """The frames of the extension's code."""
    [thread] = document["threads"]
    frames = [frame for frame in thread["frames"] if frame["kind"] == "native"]
    return [frame for frame in frames if frame["module"].endswith("native_ext.so")]


def is_named(document: dict[str, Any]) -> bool:
    frames = of_extension(document)
    assert frames
    named = [frame["name_source"] == "debug-info" for frame in frames]
    assert all(named) or not any(named)
    if any(named):
        assert {frame["function"] for frame in frames} >= set(NAMES)
        assert all(frame["file"].endswith("native_ext.cpp") for frame in frames)
    return all(named)


def test_names_and_lines_of_a_process(
    interpreter: Interpreter, served: Path, tmp_path: Path
) -> None:
    with scene_target(interpreter, SCENE, tmp_path) as target:
        states = []

        def look() -> None:
            for task in Path(f"/proc/{target.pid}/task").iterdir():
                status = (task / "status").read_text()
                states.append(re.findall(r"^(?:State|TracerPid):\t(\w)", status, re.MULTILINE))

        with debug_server(served, look) as server:
            asked = dump_json(
                target.pid, "--native", "--debuginfod", server.url, env=environment(tmp_path)
            )
            first = list(server.asked)
            # The second time all is in the cache: the file, and of the others that there is none.
            again = dump_json(
                target.pid,
                "--native",
                env=environment(tmp_path, DEBUGINFOD_URLS=f"{server.url}/buildid/"),
            )
            assert server.asked == first
        with debug_server(served) as unused:
            urls = environment(tmp_path / "other", DEBUGINFOD_URLS=unused.url)
            without = dump_json(target.pid, "--native", "--no-debuginfod", env=urls)
            dump_json(target.pid, env=urls)
            dump_json(target.pid, "--native", env=environment(tmp_path / "other"))
            assert unused.asked == []
    assert is_named(asked)
    assert is_named(again)
    assert not is_named(without)
    # While a server was asked the target ran, and nobody traced it.
    assert states
    assert all(state != "t" and tracer == "0" for state, tracer in states)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == set(first)


def test_of_a_core(interpreter: Interpreter, served: Path, tmp_path: Path) -> None:
    need_gdb()
    with scene_target(interpreter, SCENE, tmp_path) as target:
        core = gcore(target.pid, tmp_path)
    # gdb's own file must not be found without being asked for.
    assert not is_named(core_json(core, "--native", env=environment(tmp_path)))
    with debug_server(served) as server:
        urls = environment(tmp_path, DEBUGINFOD_URLS=server.url)
        assert is_named(core_json(core, "--native", env=urls))
        assert server.asked


def test_of_a_recording(interpreter: Interpreter, served: Path, tmp_path: Path) -> None:
    """All files are asked for before it begins."""
    with debug_server(served) as server, scene_target(interpreter, SCENE, tmp_path) as target:
        recorded = []
        for flags in (["--debuginfod", server.url], []):
            output = tmp_path / "out.json"
            done = run_tool(
                *("record", target.pid, "--native", *flags, "-d", "0.3", "-o", output),
                env=environment(tmp_path),
            )
            assert done.returncode == 0, done.stderr
            frames = json.loads(output.read_text())["shared"]["frames"]
            recorded.append({frame["name"] for frame in frames})
        assert len(server.asked) == len(set(server.asked)) > 1
    assert recorded[0] >= set(NAMES)
    # An inlined function is known by debug information only.
    assert "ext::call_back" not in recorded[1]


def test_servers_that_fail(interpreter: Interpreter, served: Path, tmp_path: Path) -> None:
    """One does not answer, one cannot be reached, one sends a file of another build: each is told
    of once, and the next one is asked."""
    with silent_server() as gone:
        pass
    with (
        silent_server() as silent,
        debug_server(served) as server,
        scene_target(interpreter, SCENE, tmp_path) as target,
    ):
        done = run_tool(
            *("dump", "--native", "--json", target.pid),
            *("--debuginfod", silent, "--debuginfod", gone, "--debuginfod", server.url),
            env=environment(tmp_path, DEBUGINFOD_TIMEOUT="0.5"),
        )
        dumped = dump_json(target.pid, "--native", env=environment(tmp_path))
        lines = done.stderr.splitlines()
        assert done.returncode == 0
        assert [line for line in lines if silent in line] == [
            f"pystack: Warning: the debuginfod server {silent} sent nothing for 0.5 s"
            " (limit: DEBUGINFOD_TIMEOUT); its debug files are missing."
        ]
        assert len([line for line in lines if gone in line and "refused" in line]) == 1
        assert len(lines) == 2
        assert '"ext::apply"' in done.stdout
        assert not is_named(dumped)

        for build_id in served.iterdir():
            (build_id / "debuginfo").write_bytes(Path(sys.executable).read_bytes())
        wrong = environment(tmp_path / "wrong", DEBUGINFOD_URLS=server.url)
        assert not is_named(dump_json(target.pid, "--native", env=wrong))


def test_a_cache_that_cannot_be_written(
    interpreter: Interpreter, served: Path, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with debug_server(served) as server, scene_target(interpreter, SCENE, tmp_path) as target:
        done = run_tool(
            *("dump", "--native", target.pid, "--debuginfod", server.url),
            env={**environment(tmp_path), "DEBUGINFOD_CACHE_PATH": str(in_the_way)},
        )
    assert done.returncode == 0
    assert done.stderr == (
        f"pystack: Warning: cannot store debug files in {in_the_way}: Not a directory.\n"
    )


def test_interrupted_while_it_waits(interpreter: Interpreter, tmp_path: Path) -> None:
    """Ctrl-C need not wait for a server."""
    build_extension(interpreter, tmp_path)
    strip_into(tmp_path / "native_ext.so", tmp_path / "served")
    with silent_server() as url, scene_target(interpreter, SCENE, tmp_path) as target:
        tool = subprocess.Popen(
            [*TOOL, "dump", "--native", str(target.pid), "--debuginfod", url],
            cwd=TOOL_FOLDER,
            env=environment(tmp_path, DEBUGINFOD_TIMEOUT="600"),
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: has_connection(tool.pid) or tool.poll() is not None, "it waits")
        tool.send_signal(signal.SIGINT)
        _, errors = tool.communicate(timeout=60)
    assert tool.returncode == 128 + signal.SIGINT
    assert errors == "pystack: interrupted\n"


def has_connection(pid: int) -> bool:
    """Whether a thread of it waits for what comes from a socket (recvfrom, or poll before it)."""
    try:
        calls = [
            (task / "syscall").read_text().split()[0]
            for task in Path(f"/proc/{pid}/task").iterdir()
        ]
    except (OSError, IndexError):
        return False
    return not {"45", "7", "271"}.isdisjoint(calls)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--debuginfod", "http://localhost"], "needs --native"),
        (["--native", "--debuginfod", "ftp://localhost"], "an http or https URL"),
        (["--native", "--debuginfod", "http://localhost", "--no-debuginfod"], "exclude each other"),
    ],
)
def test_flags_that_make_no_sense(flags: list[str], sentence: str) -> None:
    done = run_tool("dump", os.getpid(), *flags)
    assert done.returncode == 2
    assert sentence in done.stderr
