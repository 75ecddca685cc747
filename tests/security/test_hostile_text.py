"""Text of a target that wants to steer the terminal, in every field of every output."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from profiler_fakes import MS, BatchWriter, FakeBatch, FakeSampler, Frame
from pystack import api, errors
from pystack.cli import core as core_command
from pystack.cli import debuginfod as debuginfod_command
from pystack.cli import screen
from pystack.cli.group import cli
from pystack.model import CoreDetails, Snapshot
from pystack.render import native, text, variables
from pystack.render.terminal import COLOURS
from pystack_profiler import driver
from pystack_profiler.cli import record
from pystack_profiler.process_recorder import Sampler
from pystack_profiler.settings import Settings
from raw_snapshots import (
    raw_core,
    raw_core_module,
    raw_frame,
    raw_gap,
    raw_native_frame,
    raw_snapshot,
    raw_thread,
    raw_variable,
)
from security.attackers import PYTHON
from tool_runs import TOOL, TOOL_FOLDER, run_tool

#: Escape sequences, a line of its own, C1, bidi, invisible and undecodable characters.
HOSTILE = (
    "x\x1b[2J\x1b]0;t\x07\r\n  File\x9b1m\x85\u2028\u202e\u200b\ufeff\udcff\x7f\x08\t<script>;"
)
#: Enumerations, which the core makes and not the target.
ENUMERATIONS = {"kind", "gil", "stack_end", "name_source", "status"}
COLOUR = re.compile("|".join(re.escape(colour) for colour in set(COLOURS) - {""}))


def poisoned(value: Any, key: str = "") -> Any:
    """The same with hostile text in place of all strings."""
    if isinstance(value, str):
        return value if key in ENUMERATIONS else f"{value}{HOSTILE}"
    if isinstance(value, dict):
        return {name: poisoned(item, name) for name, item in value.items()}
    return [poisoned(item) for item in value] if isinstance(value, list) else value


def is_harmless(shown: str, *, colours: bool = False) -> bool:
    """Nothing of it steers a terminal, and no line of it was begun by the target."""
    lines = (COLOUR.sub("", shown) if colours else shown).split("\n")
    return all(line.isprintable() for line in lines) and not any(
        line.startswith("  File") and "<script>" in line and "line" not in line for line in lines
    )


def everything(core: bool = False) -> Snapshot:
    frames = [
        raw_frame(
            variables=[raw_variable(), raw_variable("y", None)],
            variables_omitted=3,
            variables_problem="it cannot be read",
        ),
        raw_frame("<module>", None),
        *[raw_frame("again")] * 9,
        raw_native_frame(),
        raw_native_frame(name_source="none", is_inlined=True, is_guess=True, python_name="a.b"),
        raw_native_frame(is_plumbing=True, file=None),
        raw_gap(),
    ]
    threads = [
        raw_thread(frames=frames, raising="ValueError", handling="KeyError", gil="holds"),
        raw_thread(2, stack_end="torn", stack_problem="it moved", gil="waits"),
        raw_thread(3, stack_end="no_python", stack_problem="it has none", run_state="Q"),
        raw_thread(4, name=None, frames=[], interpreter_id=None),
        *[raw_thread(tid) for tid in range(10, 30)],
    ]
    modules = [
        raw_core_module("/usr/lib/a.so", status=status, found_path=path)
        for status, path in (("found", "/b"), ("missing", None), ("mismatched", "/c"))
        for _ in range(6)
    ]
    raw = raw_snapshot(
        *threads,
        problems=["thread 9 was not read"],
        core=raw_core(modules=modules) if core else None,
    )
    raw = poisoned(raw)
    if core:
        details = CoreDetails.from_raw(raw["core"], HOSTILE, "gzip")
        return Snapshot.from_raw(raw, details)
    return Snapshot.from_raw(raw)


def run(monkeypatch: pytest.MonkeyPatch, result: Any, *arguments: str) -> Result:
    def answer(*_: Any, **__: Any) -> Snapshot:
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, Snapshot)
        return result

    monkeypatch.setattr(api, "dump", answer)
    monkeypatch.setattr(api, "dump_core", answer)
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("verbosity", [[], ["-v"], ["-vv"]])
@pytest.mark.parametrize("more", [[], ["--full", "--no-group", "--signatures"], ["--json"]])
@pytest.mark.parametrize("command", ["dump", "core"])
@pytest.mark.parametrize("coloured", [False, True])
def test_snapshots(
    command: str,
    more: list[str],
    verbosity: list[str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if coloured:
        monkeypatch.setenv("FORCE_COLOR", "1")
    done = run(
        monkeypatch, everything(command == "core"), command, "1", "--no-source", *more, *verbosity
    )
    assert done.exit_code == 0, done.output
    assert "script" in done.stdout
    assert is_harmless(done.stdout, colours=coloured)
    assert is_harmless(done.stderr)
    assert ("script" in done.stderr) == bool(verbosity)
    if more == ["--json"]:
        assert done.stdout.isascii()
        assert HOSTILE in json.loads(done.stdout)["threads"][0]["name"]


@pytest.mark.parametrize("coloured", [False, True])
def test_the_door_catches_what_was_forgotten(
    coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (text, native, variables):
        monkeypatch.setattr(module, "escape", lambda raw: raw)
    if coloured:
        monkeypatch.setenv("FORCE_COLOR", "1")
    done = run(monkeypatch, everything(core=True), "core", "1", "--no-source", "--full")
    assert "script" in done.stdout
    assert is_harmless(done.stdout, colours=coloured)


@pytest.mark.parametrize("verbosity", [[], ["-v"], ["-vv"]])
@pytest.mark.parametrize(
    "kind",
    [errors.NotPython, errors.ReadFault, errors.SystemFailure, errors.PermissionDenied, OSError],
)
def test_failures(
    kind: type[Exception], verbosity: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = OSError(2, HOSTILE, HOSTILE) if kind is OSError else kind(HOSTILE)
    if isinstance(failure, errors.PystackError):
        failure.hint = HOSTILE
    failure.__cause__ = ValueError(HOSTILE)
    done = run(monkeypatch, failure, "dump", "1", *verbosity)
    assert done.exit_code != 0
    assert "script" in done.stderr
    assert is_harmless(done.stderr)
    assert ("Traceback" in done.stderr) == (verbosity == ["-vv"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_of_downloads_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stderr", screen.guarded(terminal))
    download = debuginfod_command._progress()
    assert download is not None
    download(f"/{HOSTILE}", f"http://{HOSTILE}", 0, None)
    download("", "", 0, -1)
    debuginfod_command._warn(HOSTILE)
    assert core_command._progress() is not None
    written = terminal.getvalue()
    assert "\\x1b[2J" in written
    assert is_harmless(written.replace("\r\x1b[K", ""))


def test_what_nobody_thought_of() -> None:
    """Tracebacks, warnings and click's own errors: the stream itself escapes."""
    terminal = Terminal()
    stream = screen.guarded(terminal)
    print("one", HOSTILE, "\ntwo", file=stream)
    assert screen.guarded(stream) is stream
    assert terminal.getvalue().isprintable() is False  # the ends of lines
    assert is_harmless(terminal.getvalue().replace("\n  File", "File"))
    name = f"/tmp/{HOSTILE}".replace("\r\n", "")
    done = run_tool("core", "a", "b", name)
    assert done.returncode == 2
    assert "script" in done.stderr
    assert is_harmless(done.stderr)
    program = (
        "import sys, pystack.__main__ as main, pystack.cli\n"
        "def fail(): raise ZeroDivisionError(chr(27) + '[2J')\n"
        "main.run = fail\n"
        "main.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd="/"
    )
    assert "ZeroDivisionError: \\x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr


def hostile_batch() -> FakeBatch:
    writer = BatchWriter()
    frames = [
        Frame(HOSTILE, HOSTILE),
        Frame("f", f"/{HOSTILE}", kind=1),
        Frame(HOSTILE, "", kind=2),
    ]
    thread = writer.thread(1, HOSTILE)
    now = time.monotonic_ns()
    for state in (1 | 4 | 16 | 32, 2 | 16 | 32, 8 | 16 | 32):
        writer.sample(thread, now + MS, 100 * MS, frames, state)
        now += 100 * MS
    other = writer.thread(2, HOSTILE)
    writer.sample(other, now + MS, 300 * MS, frames[:1], 2 | 16 | 32)
    return writer.batch()


class HostileSampler(FakeSampler):
    python_version = HOSTILE
    other_interpreters = (HOSTILE,)


@pytest.mark.parametrize("name", ["html", "speedscope", "folded"])
@pytest.mark.parametrize("place", ["-", "file"])
def test_recordings(name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_sampler(pid: int, settings: Settings, _: object = None) -> Sampler:
        return HostileSampler([hostile_batch()], ends="failed", taken=4)

    monkeypatch.setattr(driver, "open_sampler", open_sampler)
    monkeypatch.setattr(driver, "command_line", lambda _: ("python", HOSTILE, HOSTILE))
    monkeypatch.setattr(HostileSampler, "error", HOSTILE, raising=False)
    output = place if place == "-" else str(tmp_path / "out.x")
    done = CliRunner().invoke(record, ["1", "-vv", "-t", "--lines", "-f", name, "-o", output])
    assert is_harmless(done.stderr), done.stderr
    assert "script" in done.stderr
    written = done.stdout if place == "-" else Path(output).read_text("utf-8")
    assert "script" in written
    assert is_harmless(written.replace("\t", ""))
    if name == "html":
        assert "<script>;" not in written


SCRIPT = """
import sys, threading, time, types
hostile = sys.argv[1]
def work():
    print("ready", flush=True)
    time.sleep(1000)
names = {"co_name": hostile, "co_filename": hostile}
if sys.version_info >= (3, 11):
    names["co_qualname"] = hostile
function = types.FunctionType(work.__code__.replace(**names), globals())
threading.Thread(target=function, name=hostile).start()
"""


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    """A real process whose program, arguments, thread and code have such names."""
    program = tmp_path / HOSTILE.replace("/", "")
    program.write_bytes(PYTHON.read_bytes())
    program.chmod(0o755)
    with subprocess.Popen(
        [os.fsencode(program), "-c", SCRIPT, os.fsencode(HOSTILE)],
        executable=os.fsencode(program),
        env={"PYTHONHOME": "/usr", "PATH": "/usr/bin"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


@pytest.mark.skipif(not PYTHON.exists(), reason="no Python of the system")
def test_a_real_process(target: int, tmp_path: Path) -> None:
    for arguments in (
        ["dump", target],
        ["dump", target, "-vv", "--locals", "--full"],
        ["dump", target, "-vv", "--native", "--json"],
        ["dump", target, "-vv", "--no-block", "--no-group"],
        ["record", target, "-vv", "-t", "-d", "300ms", "-f", "folded", "-o", "-"],
        ["record", target, "-vv", "-t", "-d", "300ms", "-o", tmp_path / "out.html"],
        ["record", target, "-vv", "-d", "300ms", "-o", tmp_path / "out.json"],
    ):
        # As bytes: Python's own idea of lines knows more characters than terminals do.
        done = subprocess.run(
            [*TOOL, *map(str, arguments)], capture_output=True, check=False, cwd=TOOL_FOLDER
        )
        shown, told = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
        assert done.returncode == 0, told
        assert "script" in shown or arguments[0] == "record"
        assert is_harmless(shown)
        assert is_harmless(told)
