import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pystack import api, errors
from pystack.cli import core as command
from pystack.cli.group import cli
from pystack.cli.hints import in_options
from pystack.model import CoreDetails, Snapshot
from raw_snapshots import raw_core, raw_core_module, raw_frame, raw_snapshot, raw_thread

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with a `dump_core` that gives or raises `result` and notes its arguments."""

    def run(*arguments: str, result: Any = None, calls: list[Any] | None = None) -> Result:
        def dump_core(path: str, **options: Any) -> Snapshot:
            if calls is not None:
                calls.append((path, options))
            if isinstance(result, BaseException):
                raise result
            raw = result or raw_snapshot(core=raw_core())
            return Snapshot.from_raw(raw, CoreDetails.from_raw(raw["core"], path))

        monkeypatch.setattr(api, "dump_core", dump_core)
        return CliRunner().invoke(cli, ["core", *arguments])

    return run


def test_text_and_json(run: Run) -> None:
    result = run("core.1")
    assert result.exit_code == 0
    assert result.stdout.startswith("Core core.1 of process 4711: CPython 3.13.5, ")
    assert result.stderr == ""
    for flag in ("--json", "-j"):
        document = json.loads(run("core.1", flag).stdout)
        assert document["kind"] == "core"
        assert document["core"]["path"] == "core.1"


def test_arguments(run: Run) -> None:
    calls: list[Any] = []
    for arguments in (
        ["core.1"],
        ["core.1", "python3", "--exhaustive"],
        ["core.1", "--lib-search-path", "/a:/b", "--lib-search-path", "/c:"],
        ["core.1", "--lib-search-root", "/copy"],
    ):
        assert run(*arguments, calls=calls).exit_code == 0
    wanted = ("executable", "library_folders", "library_root", "exhaustive")
    assert [[options[name] for name in wanted] for _, options in calls] == [
        [None, [], None, False],
        ["python3", [], None, True],
        [None, ["/a", "/b", "/c"], None, False],
        [None, [], "/copy", False],
    ]


def test_usage_errors(run: Run) -> None:
    exclusive = ("core.1", "--lib-search-path", "/a", "--lib-search-root", "/b")
    for arguments in ((), ("a", "b", "c"), ("core.1", "--nope"), exclusive):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Usage: " in result.stderr


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.NotACore("core.1 is not an ELF core file"), 1),
        (errors.CoreTruncated("core.1 is empty"), 1),
        (errors.MissingBinary("it needs the file x"), 1),
        (errors.UnsupportedTarget("core.1 is of a 32-bit program"), 1),
        (errors.NotPython("the core is not of a Python process"), 3),
        (errors.InvalidArgument("/x is not a folder"), 2),
    ],
)
def test_failures(run: Run, error: errors.PystackError, exit_code: int) -> None:
    result = run("core.1", result=error)
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr == f"pystack: {error}.\n" + (
        f"{in_options(error.hint)}\n" if error.hint else ""
    )


def test_verbose_lists_all_files_on_stderr(run: Run) -> None:
    modules = [
        raw_core_module("/a", begin=0x1000, end=0x2000),
        raw_core_module("/b", found_path="/copy/b", file_build_id=""),
        raw_core_module("/c\x1b", status="missing", found_path=None, core_build_id=None),
        raw_core_module("/d", status="mismatched", found_path="/copy/d", file_build_id="ff"),
    ]
    raw = raw_snapshot(core=raw_core(modules=modules))
    result = run("core.1", "-v", result=raw)
    assert result.stdout == run("core.1", result=raw).stdout
    assert result.stderr == (
        "pystack: 0x1000-0x2000 /a: found (build ID 0123abcd)\n"
        "pystack: 0x400000-0xc00000 /b: found at /copy/b (no build ID)\n"
        "pystack: 0x400000-0xc00000 /c\\x1b: missing (the core has an unknown build ID)\n"
        "pystack: 0x400000-0xc00000 /d: mismatched (/copy/d has build ID ff,"
        " the core has build ID 0123abcd)\n"
    )


def test_source_lines(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def f():\n    wait()\n")
    raw = raw_snapshot(raw_thread(frames=[raw_frame("f", 2, file="/app.py")]), core=raw_core())
    options = ("core.1", "--lib-search-root", str(tmp_path))
    assert "    wait()\n" in run(*options, result=raw).stdout
    assert "wait()" not in run(*options, "--no-source", result=raw).stdout
    assert "wait()" not in run("core.1", result=raw).stdout


def test_progress_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        written = ""

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            self.written += text

        def flush(self) -> None:
            pass

    assert command._progress() is None  # pytest's stderr is none
    terminal = Terminal()
    now = 100.0
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tell = command._progress()
    assert tell is not None
    tell(1, 100, 10 << 20)
    assert terminal.written == ""  # too short a time
    now += 1
    tell(50, 100, 500 << 20)
    assert terminal.written == "\r\x1b[Kpystack: unpacking, 50 % (500 MiB)"
    tell(100, 100, 1000 << 20)
    assert terminal.written.endswith("\r\x1b[K")
