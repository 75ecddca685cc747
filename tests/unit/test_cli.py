import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from pystack import Native, __version__, api, errors, process_facts
from pystack.cli.commands import COMMANDS
from pystack.cli.group import cli
from pystack.cli.hints import in_options
from pystack.model import Snapshot
from raw_snapshots import raw_frame, raw_snapshot, raw_thread

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with a `dump` that gives or raises `result` and notes its arguments."""
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, result: Any = None, calls: list[Any] | None = None) -> Result:
        def dump(pid: int, **options: Any) -> Snapshot:
            if calls is not None:
                calls.append((pid, options))
            if isinstance(result, BaseException):
                raise result
            return Snapshot.from_raw(result or raw_snapshot())

        monkeypatch.setattr(api, "dump", dump)
        return CliRunner().invoke(cli, arguments)

    return run


def test_dump_prints_text(run: Run) -> None:
    result = run("dump", "4711")
    assert result.exit_code == 0
    assert result.stdout.startswith("Process 4711: CPython 3.13.5, ")
    assert result.stdout.endswith('  File "/srv/app.py", line 3, in work\n')
    assert result.stderr == ""


def test_dump_prints_json(run: Run) -> None:
    for flag in ("--json", "-j"):
        document = json.loads(run("dump", "4711", flag).stdout)
        assert document["schema_version"] == 1
        assert document["threads"][0]["frames"][0]["function"] == "work"


@pytest.mark.parametrize(
    ("arguments", "block", "exhaustive"),
    [
        (("dump", "7"), True, False),
        (("dump", "-p", "7"), True, False),
        (("dump", "--pid", "7", "7"), True, False),
        (("dump", "0x7", "--full-filenames"), True, False),
        (("remote", "7"), True, False),
        (("dump", "7", "--no-block"), False, False),
        (("dump", "7", "--nonblocking", "--exhaustive"), False, True),
        (("dump", "7", "--no-priority"), True, False),
    ],
)
def test_arguments(run: Run, arguments: tuple[str, ...], block: bool, exhaustive: bool) -> None:
    calls: list[Any] = []
    assert run(*arguments, calls=calls).exit_code == 0
    priority = "--no-priority" not in arguments
    fixed = {
        "tasks": True,
        "locals": None,
        "native": None,
        "require_python": True,
        "max_memory": None,
    }
    asked = {"block": block, "exhaustive": exhaustive, "raise_priority": priority, **fixed}
    assert calls == [(7, asked)]
    run(*arguments, "--max-memory", "64M", calls=calls)
    assert calls[1] == (7, asked | {"max_memory": 64 << 20})


@pytest.mark.parametrize(
    ("flag", "all_threads", "last_only"),
    [
        ("--native", False, False),
        ("-n", False, False),
        ("--native-all", True, False),
        ("--native-last", False, True),
    ],
)
def test_native_flags(run: Run, flag: str, all_threads: bool, last_only: bool) -> None:
    calls: list[Any] = []
    assert run("dump", "7", flag, calls=calls).exit_code == 0
    assert calls[0][1]["native"] == Native(all_threads, last_only)


@pytest.mark.parametrize(
    "arguments",
    [
        ("dump", "7", "--native", "--no-block"),
        ("dump",),
        ("dump", "x"),
        ("dump", "0"),
        ("dump", "-1"),
        ("dump", "7", "extra"),
        ("dump", "-p", "7", "extra"),
        ("dump", "7", "--nope"),
        ("nope",),
    ],
)
def test_usage_errors(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: " in result.stderr


def test_what_is_not_a_pid_is_named(run: Run) -> None:
    stderr = run("dump", "-p", "7", "abc").stderr
    assert "'abc' is not a process ID. Look it up with" in " ".join(stderr.split())


class Processes:
    """`dump` of several processes, some of which fail."""

    def __init__(self, **failures: errors.PystackError) -> None:
        self.failures = {int(name[1:]): error for name, error in failures.items()}

    def dump(self, pid: int, **_: Any) -> Snapshot:
        if pid in self.failures:
            raise self.failures[pid]
        return Snapshot.from_raw(raw_snapshot(pid=pid))

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
        monkeypatch.setattr(api, "dump", self.dump)
        return CliRunner().invoke(cli, ["dump", *arguments])


def heads(text: str) -> list[str]:
    return [line.partition(":")[0] for line in text.splitlines() if line.startswith("Process ")]


def test_several_processes_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes()
    result = processes.run(monkeypatch, "7", "8", "-p", "9", "7")
    assert result.exit_code == 0
    assert heads(result.stdout) == ["Process 9", "Process 7", "Process 8"]
    assert "\n\nProcess 7" in result.stdout
    result = processes.run(monkeypatch, "7", "8", "--json")
    assert [json.loads(line)["pid"] for line in result.stdout.splitlines()] == [7, 8]


def test_the_first_failure_of_several_is_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, denied = errors.NoSuchProcess("there is no process 7"), errors.PermissionDenied("no")
    result = Processes(_7=gone, _9=denied).run(monkeypatch, "7", "8", "9")
    assert result.exit_code == 5
    assert heads(result.stdout) == ["Process 8"]
    assert "pystack: there is no process 7." in result.stderr
    assert "pystack: no." in result.stderr


def test_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    children = {7: [8, 9, 10]}
    monkeypatch.setattr(process_facts, "descendants", lambda pid: children.get(pid, []))
    monkeypatch.setattr(process_facts, "is_named_python", lambda pid: pid == 8)
    other = errors.NotPython("not Python")
    result = Processes(_9=other, _10=errors.TargetExited("x")).run(monkeypatch, "-s", "7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert heads(result.stdout) == ["Process 7", "Process 8"]
    # A shell with a Python child is not worth a message.
    result = Processes(_7=other, _9=other, _10=other).run(monkeypatch, "--subprocesses", "7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert heads(result.stdout) == ["Process 8"]
    assert Processes(_11=other).run(monkeypatch, "-s", "11").exit_code == 3
    denied = errors.PermissionDenied("no", cause="x")
    result = Processes(_8=denied).run(monkeypatch, "-s", "7")
    assert (result.exit_code, result.stderr) == (4, "pystack: no.\n")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.NoSuchProcess("there is no process 7"), 5),
        (errors.TargetExited("it went away"), 5),
        (errors.PermissionDenied("no permission", cause="x", hint="Run it as root."), 4),
        (errors.NotPython("process 7 is not a Python process"), 3),
        (errors.UnsupportedTarget("process 7 is a zombie"), 1),
        (errors.VersionUnsupported("CPython 2.7 is too old"), 1),
        (errors.CorruptData("frame is not valid", address=16), 1),
        (errors.InvalidArgument("no"), 2),
        (errors.PystackError("it failed"), 1),
    ],
)
def test_failures(run: Run, error: errors.PystackError, exit_code: int) -> None:
    result = run("dump", "7", result=error)
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr == f"pystack: {error}.\n" + (
        f"{in_options(error.hint)}\n" if error.hint else ""
    )


def test_refusal_without_a_cause_is_diagnosed(run: Run) -> None:
    result = run("dump", "1", result=errors.PermissionDenied("EPERM", pid=os.getpid()))
    assert result.exit_code == 4
    assert "a process cannot stop itself" in result.stderr


def test_verbose_failures(run: Run) -> None:
    fault = errors.ReadFault("cannot read", address=0x10, size=8, pid=7)
    assert run("dump", "7", "-v", result=fault).stderr.endswith(
        "(ReadFault, pid 7, address 0x10, size 8)\n"
    )
    assert "Traceback" in run("-v", "dump", "7", "-v", result=fault).stderr
    assert "\\x1b" in run("dump", "7", result=errors.NotPython("\x1b")).stderr


def test_verbose_says_more_on_stderr_only(run: Run) -> None:
    quiet = run("dump", "7")
    for arguments in (("-v", "dump", "7"), ("dump", "7", "-v"), ("dump", "-vv", "7")):
        result = run(*arguments)
        assert result.stdout == quiet.stdout
        assert "reads until consistent: 1" in result.stderr


def test_colour(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in run("dump", "7").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in run("dump", "7").stdout
    assert "\x1b" not in run("--no-color", "dump", "7").stdout
    assert "\x1b" not in run("dump", "7", "--no-color").stdout


def test_grouping_and_full(run: Run) -> None:
    many = raw_snapshot(*[raw_thread(tid, frames=[raw_frame()] * 9) for tid in (1, 2)])
    assert "Threads 1, 2" in run("dump", "7", result=many).stdout
    separate = run("dump", "7", "--no-group", result=many).stdout
    assert separate.count("\nThread ") == 2
    assert separate.count("Previous line repeated 6 more times") == 2
    assert run("dump", "7", "--full", result=many).stdout.count("in work") == 9


def test_source_lines(run: Run, tmp_path: Any) -> None:
    file = tmp_path / "app.py"
    file.write_text("def f():\n    wait()\n")
    frame = raw_frame("f", 2, file=str(file))
    snapshot = raw_snapshot(raw_thread(frames=[frame]))
    pid = str(os.getpid())
    assert "    wait()\n" in run("dump", pid, result=snapshot).stdout
    assert "wait()" not in run("dump", pid, "--no-source", result=snapshot).stdout


def test_interrupted(run: Run) -> None:
    result = run("dump", "7", result=KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr == "pystack: interrupted\n"


def test_broken_pipe_is_quiet(run: Run) -> None:
    result = run("dump", "7", result=BrokenPipeError())
    assert (result.exit_code, result.stderr) == (141, "")


def test_no_space_left(run: Run) -> None:
    result = run("dump", "7", result=OSError(28, "No space left on device"))
    assert result.exit_code == 1
    assert result.stderr == "pystack: cannot read or write: No space left on device.\n"


def test_incomplete_installation(run: Run) -> None:
    result = run("dump", "7", result=ImportError("liblzma.so.5: cannot open", name="pystack._core"))
    assert result.exit_code == 1
    assert "liblzma.so.5" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_and_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command("record")
    def record() -> None:
        """Sample it."""
        click.get_current_context().exit(42)

    package = ModuleType("pystack_profiler")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "pystack_profiler", package)
    modules: dict[str, ModuleType] = {}
    for name, attribute in COMMANDS.values():
        if name.startswith("pystack_profiler."):
            module = modules.setdefault(name, ModuleType(name))
            setattr(module, attribute, record)
            monkeypatch.setitem(sys.modules, name, module)
    for flag in ("-h", "--help"):
        text = run(flag).stdout
        assert "dump" in text
        assert "record" in text
        assert "remote" not in text
        assert "--no-block" in run("dump", flag).stdout
    assert run("--version").stdout == f"pystack {__version__}\n"
    assert run("record").exit_code == 42
