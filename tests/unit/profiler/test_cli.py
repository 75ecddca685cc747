from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from profiler_fakes import MS, BatchWriter, FakeBatch, FakeSampler, Frame
from pystack import process_facts
from pystack.errors import Cancelled, InvalidArgument, NotPython
from pystack_profiler import cli, driver, interruption
from pystack_profiler import launched_command as command_module
from pystack_profiler.cli import record
from pystack_profiler.process_recorder import Sampler
from pystack_profiler.profile import Recording
from pystack_profiler.push import PushError, PushTarget
from pystack_profiler.recording_file import LiveFile, load
from pystack_profiler.settings import Settings
from pystack_profiler.view import View

PID = "4711"
BEGIN = "pystack: recording 4711 (Ctrl-C or SIGINT to finish)"


class World:
    """A folder, and a sampler for whoever opens one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out.json"
        self.opened: list[tuple[int, Settings]] = []
        self.sampler: Sampler = FakeSampler([one_sample()], ends="target_exited", taken=1)

    def open_sampler(self, pid: int, settings: Settings, _: object = None) -> Sampler:
        self.opened.append((pid, settings))
        return self.sampler

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(record, arguments)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "open_sampler", world.open_sampler)
    monkeypatch.setattr(process_facts, "python_descendants", lambda _: [])
    return world


def test_priority_and_cpu_limit(world: World) -> None:
    world.run("4711", "--no-priority", "--max-cpu", "35%")
    (asked,) = world.opened
    assert asked[1].raise_priority is False
    assert asked[1].max_cpu == 0.35


def one_sample() -> FakeBatch:
    writer = BatchWriter()
    writer.sample(writer.thread(1), time.monotonic_ns() + MS, MS, [Frame("main"), Frame("work")])
    return writer.batch()


def signalling(number: int, times: int = 1) -> FakeSampler:
    """A sampler during whose work the user presses Ctrl-C, or the like."""

    class Signalling(FakeSampler):
        def next_batch(self, timeout_s: float) -> FakeBatch | None:
            nonlocal times
            if times:
                times -= 1
                os.kill(os.getpid(), number)
            return super().next_batch(timeout_s)

    return Signalling([one_sample()])


def test_records_a_process_into_a_file(world: World) -> None:
    result = world.run(PID, "-o", "out.json")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert [profile["name"] for profile in json.loads(world.out.read_text())["profiles"]] == [
        "1 · process 4711"
    ]
    begin, look, permissions, account = result.stderr.splitlines()
    assert begin == BEGIN
    assert permissions.startswith("pystack: only its owner can read the file")
    assert account.startswith("pystack: out.json: 1 sample of 1 thread over ")
    assert "none lost" in account
    assert "npx speedscope out.json" in look
    assert world.opened == [(4711, Settings())]


def test_options_reach_the_sampler(world: World) -> None:
    world.run("-p", PID, "-o", "out.json", "-r", "1kHz", "-d", "5m", "--block", "--exhaustive")
    assert world.opened == [(4711, Settings(1000.0, 300.0, True, True))]
    world.run("--nonblocking", PID, "-o", "out.json")
    assert world.opened[1] == (4711, Settings(stop=False))
    world.run("0x1267", "-d", "unlimited", "-o", "out.json", "--gil", "--mode", "gil")
    assert world.opened.pop() == (4711, Settings())
    world.run(PID, "-o", "out.json", "--max-memory", "1G")
    assert world.opened[2] == (4711, Settings(max_memory=1 << 30))


def test_the_default_name_has_pid_and_time(world: World) -> None:
    result = world.run(PID)
    (path,) = world.folder.iterdir()
    assert path.name.startswith("pystack-4711-20")
    assert path.suffix == ".html"
    assert f"\npystack: {path.name}: " in result.stderr
    for name, suffix in (("speedscope", ".json"), ("collapsed", ".txt"), ("flamegraph", ".html")):
        path.unlink()
        world.run(PID, "-f", name)
        (path,) = world.folder.iterdir()
        assert path.suffix == suffix


def test_the_recording_is_kept_beside_another_format(world: World) -> None:
    result = world.run(PID, "-o", "out.json", "--keep")
    assert result.exit_code == 0
    assert sorted(path.name for path in world.folder.iterdir()) == ["out.json", "out.pystack"]
    kept = load(str(world.folder / "out.pystack"))
    assert kept.sample_count == 1
    assert (
        "pystack: the recording is kept: out.pystack (pystack report out.pystack" in result.stderr
    )
    assert result.stderr.splitlines()[-1].startswith("pystack: out.json: 1 sample of 1 thread")


def test_the_kept_recording_has_the_name_of_the_other_file(world: World) -> None:
    world.run(PID, "--keep")
    page, kept = sorted(world.folder.iterdir())
    assert (page.suffix, kept.suffix, page.stem) == (".html", ".pystack", kept.stem)
    for path in (page, kept):
        path.unlink()
    world.run(PID, "-o", "x.pb.gz", "--keep")
    assert sorted(path.name for path in world.folder.iterdir()) == ["x.pb.gz", "x.pystack"]


def test_a_kept_recording_alone_and_beside_stdout(world: World) -> None:
    world.run(PID, "-o", "x.pystack", "--keep")
    (path,) = world.folder.iterdir()
    path.unlink()
    result = world.run(PID, "-o", "-", "--keep")
    assert json.loads(result.stdout)["pystack"]["schema_version"] == 2
    (path,) = world.folder.iterdir()
    assert path.name.startswith("pystack-4711-20")
    assert path.suffix == ".pystack"


def test_a_kept_recording_grows_while_recording(world: World) -> None:
    sizes = []

    class Looking(FakeSampler):
        def next_batch(self, timeout_s: float) -> FakeBatch | None:
            sizes.append((world.folder / "out.pystack").stat().st_size)
            return super().next_batch(timeout_s)

    world.sampler = Looking([one_sample()], ends="target_exited")
    world.run(PID, "-o", "out.json", "--keep")
    assert sizes


def test_a_kept_recording_that_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other file is written all the same."""

    def fail(self: LiveFile, recording: Recording) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(LiveFile, "update", fail, raising=True)
    monkeypatch.setattr(LiveFile, "__init__", lambda *_: None)
    monkeypatch.setattr(LiveFile, "append", lambda *_: None)
    monkeypatch.setattr(LiveFile, "abandon", lambda *_: None)
    monkeypatch.setattr(LiveFile, "path", "out.pystack", raising=False)
    monkeypatch.setattr(LiveFile, "growing_path", "out.pystack", raising=False)
    result = world.run(PID, "-o", "out.json", "--keep")
    assert result.exit_code == 1
    assert "cannot write out.pystack: No space left on device" in result.stderr
    assert "and recording goes on without it" in result.stderr
    assert json.loads(world.out.read_text())["profiles"]


def test_a_folder_that_takes_no_kept_recording(world: World) -> None:
    (world.folder / "out.pystack").mkdir()
    result = world.run(PID, "-o", "out.json", "--keep")
    assert result.exit_code == 1
    assert result.stderr.startswith("pystack: cannot write out.pystack: ")
    assert world.opened == []


def test_stdout_carries_data_only(world: World) -> None:
    result = world.run(PID, "-o", "-")
    assert json.loads(result.stdout)["profiles"]
    assert result.stderr.startswith(f"{BEGIN}\npystack: stdout: 1 sample")
    assert list(world.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        (["-o", "out.json"], "{"),
        (["-o", "out.folded"], "main (app.py);work (app.py) 1000\n"),
        (["-o", "out.TXT"], "main"),
        (["-o", "out.log", "-f", "collapsed"], "main"),
        (["-o", "out", "-f", "speedscope"], "{"),
        (["-o", "out.txt", "--lines"], "main (app.py:1);work (app.py:1)"),
        (["-o", "out.txt", "-F"], "main (app.py);work"),
        (["-o", "out.txt", "--full-filenames"], "main (/srv/app.py);work (/srv/app.py)"),
        (["-o", "out.txt", "-t"], "1;main (app.py);work"),
        (["-o", "out.txt", "--idle"], "main (app.py);work"),
        (["-o", "out.txt", "--gil"], ""),
        (["-o", "out.txt", "--mode", "cpu"], ""),
        (["-o", "out.html"], "<!DOCTYPE html>"),
        (["-o", "out", "-f", "flamegraph"], "<!DOCTYPE html>"),
    ],
)
def test_formats(world: World, arguments: list[str], begin: str) -> None:
    assert world.run(PID, *arguments).exit_code == 0
    text = (world.folder / arguments[1]).read_text()
    assert text.startswith(begin)
    assert bool(text) is bool(begin)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either one PID or `-- COMMAND...`."),
        (["-p", PID, PID], "Give either one PID"),
        ([PID, "--", "true"], "Give either one PID"),
        (["--"], "Give either one PID"),
        (
            ["no-such-program"],
            "program in PATH. To record a command, put `--` before it: record -- no-s",
        ),
        (["app.py", "-q"], "put `--` before it: record -- python app.py"),
        ([PID, "-g", "-i"], "--idle (-i) and --gil (-g) exclude each other"),
        ([PID, "--mode", "cpu", "-g"], "--mode cpu and --gil (-g) exclude each other"),
        (
            [PID, "-o", "out.pdf"],
            "known suffixes: .html, .htm, .json, .txt, .folded, .collapsed, .svg",
        ),
        ([PID, "-o", "out.png"], ".pystack. Use one of these."),
        ([PID, "-o", "out.log"], ".pystack. Use one of these, or give the format with -f."),
        (
            [PID, "-f", "pdf"],
            "known formats: html, speedscope, folded, svg, pprof, firefox, otlp, chrometrace, callgrind, report, pystack",
        ),
        ([PID, "-f", "flamegraph", "-o", "x.png"], "end the name with .html or .htm."),
        (
            [PID, "-f", "speedscope", "-o", "a.HTML"],
            "'a.HTML': end the name with .json, or omit -f.",
        ),
        ([PID, "-f", "collapsed", "-o", "a.json"], "with .txt or .folded or .collapsed"),
        ([PID, "-f", "raw", "-o", "a.gz"], "does not fit"),
        ([PID, "-f", "raw", "-o", "a.prof"], "does not fit"),
        ([PID, "-r", "fast"], "write it like 100, 1kHz or 10k"),
        ([PID, "-d", "soon"], "write it like 30, 30s"),
    ],
)
def test_usage_errors(world: World, arguments: list[str], message: str) -> None:
    result = world.run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert world.opened == []


def test_an_output_that_cannot_be_written_is_known_before(world: World) -> None:
    for arguments in ([PID], ["--", "touch", "started"]):
        result = world.run("-o", "missing/out.json", *arguments)
        assert result.exit_code == 1
        assert (
            result.stderr == "pystack: cannot write missing/out.json: No such file or directory\n"
        )
    assert world.opened == []
    assert list(world.folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_the_file(world: World, number: int) -> None:
    world.sampler = signalling(number)
    result = world.run(PID, "-o", "out.json")
    assert result.exit_code == 0
    assert json.loads(world.out.read_text())["pystack"]["recording"]["end_reason"] == "stopped"


def test_a_second_signal_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_SAME_REQUEST_S", 0.0)
    world.out.write_text("before")
    world.sampler = signalling(signal.SIGINT, times=2)
    result = world.run(PID, "-o", "out.json")
    assert result.exit_code == 130
    assert result.stderr == f"{BEGIN}\npystack: aborted; nothing was written\n"
    assert world.out.read_text() == "before"
    assert list(world.folder.iterdir()) == [world.out]


def test_sigusr1_writes_what_there_is_and_recording_goes_on(world: World) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    world.sampler = signalling(signal.SIGUSR1)
    result = world.run(PID, "-o", "out-%p.json", "-d", "300ms")
    assert result.exit_code == 0
    (snapshot,) = world.folder.glob("out-4711-snapshot-2*Z.json")
    assert f"snapshot: {snapshot.name} (" in result.stderr
    assert "; recording goes on" in result.stderr
    reasons = {
        path: json.loads(path.read_text())["pystack"]["recording"]["end_reason"]
        for path in (snapshot, world.folder / "out-4711.json")
    }
    assert list(reasons.values()) == ["running", "stopped"]
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-o", "out.pystack", "--every", "60s"], "needs %t"),
        (["-o", "out-%p.pystack", "--every", "60s"], "needs %t"),
        (["-o", "-", "--every", "60s"], "needs a file name"),
        (["--every", "500ms"], "at least 1s"),
        (["--max-files", "3"], "needs --every"),
    ],
)
def test_series_that_make_no_sense(world: World, options: list[str], reason: str) -> None:
    result = world.run(PID, *options)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not world.opened


def test_a_mode_that_was_not_measured_is_said(world: World) -> None:
    result = world.run(PID, "-o", "out.txt", "--mode", "cpu")
    assert result.exit_code == 0
    assert "which threads ran could not be measured" in result.stderr


def test_nothing_seen_is_an_answer(world: World) -> None:
    world.sampler = FakeSampler(ends="target_exited")
    result = world.run(PID, "-o", "out.json")
    assert result.exit_code == 0
    assert "0 samples of 0 threads" in result.stderr
    assert json.loads(world.out.read_text())["profiles"]


def test_a_failure_on_the_way_is_said_and_the_file_written(world: World) -> None:
    sampler = FakeSampler([one_sample()], ends="failed")
    sampler.error = "the interpreter state vanished"
    world.sampler = sampler
    result = world.run(PID, "-o", "out.json")
    assert result.exit_code == 1
    assert "ended early: the interpreter state vanished" in result.stderr
    assert json.loads(world.out.read_text())["pystack"]["recording"]["end_reason"] == "failed"


def test_more_is_told_on_request(world: World) -> None:
    lines = world.run(PID, "-o", "out.json", "-v").stderr.splitlines()
    assert lines[:2] == [BEGIN, "pystack: CPython 3.13.5, ended: target_exited"]
    assert any(line.startswith("pystack: thread 100/1: 1 sample,") for line in lines)
    assert lines[-1].startswith("pystack: out.json: ")


def test_a_commands_status_comes_back(world: World) -> None:
    world.sampler = FakeSampler([one_sample()])
    code = "import time; time.sleep(0.2); raise SystemExit(7)"
    result = world.run("-o", "out.json", "--", sys.executable, "-c", code)
    assert result.exit_code == 7
    assert "waiting for" not in result.stderr
    ending = json.loads(world.out.read_text())["pystack"]["recording"]["end_reason"]
    assert ending == "target_exited"
    (pid, _) = world.opened[0]
    assert pid != os.getpid()


def test_options_after_the_dashes_are_the_commands(world: World) -> None:
    code = "import sys; raise SystemExit(sys.argv[1:] != ['-o', '--', '-r'])"
    result = world.run("-o", "out.json", "--", sys.executable, "-c", code, "-o", "--", "-r")
    assert result.exit_code == 0


@pytest.mark.parametrize("options", [["-o", "out.json"], ["-d1m", "-oout.json", "-s", "--lines"]])
def test_a_program_in_the_path_needs_no_dashes(
    world: World, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def start(arguments: list[str], *_: object) -> int:
        started.append(arguments)
        return 7

    monkeypatch.setattr(cli, "record_command", start)
    command = ["sh", "-c", "exit 7", "--", "-o", "x"]
    assert world.run(*options, *command).exit_code == 7
    assert started == [command]


def test_a_command_outlives_its_recording(world: World) -> None:
    code = "import time; time.sleep(1.2); raise SystemExit(3)"
    world.sampler = FakeSampler([one_sample()])
    result = world.run("-d", "50ms", "-o", "out.json", "--", sys.executable, "-c", code)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].startswith("pystack: waiting for ")


def test_sigterm_ends_the_command_as_well(world: World) -> None:
    world.sampler = signalling(signal.SIGTERM)
    result = world.run("-o", "out.json", "--", "sleep", "60")
    assert result.exit_code == 143
    assert world.out.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_interpreter_is_looked_for(
    world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def open_sampler(_: int, __: Settings, cancelled: Callable[[], bool]) -> Sampler:
        signal.raise_signal(number)
        assert cancelled()
        raise Cancelled("cancelled")

    monkeypatch.setattr(driver, "open_sampler", open_sampler)
    result = world.run("4711", "-o", "out.json")
    assert result.exit_code == 128 + number
    assert "aborted" in result.stderr
    assert not world.out.exists()


def test_a_signal_while_the_file_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it was not abandoned")

    monkeypatch.setattr("pystack_profiler.destination.findings", export)
    result = world.run("4711", "-o", "out.json")
    assert result.exit_code == 128 + signal.SIGTERM


def refusing(world: World) -> Callable[..., Sampler]:
    def open_sampler(pid: int, settings: Settings, _: object = None) -> Sampler:
        world.open_sampler(pid, settings)
        raise NotPython("process has no interpreter")

    return open_sampler


def test_a_command_that_is_not_python(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "open_sampler", refusing(world))
    monkeypatch.setattr(command_module, "OPEN_WITHIN_S", 0.05)
    result = world.run("-o", "out.json", "--", "sh", "-c", "sleep 0.4; exit 9")
    assert result.exit_code == 9
    assert "process has no interpreter" in result.stderr
    assert "nothing was written; waiting for sh -c" in result.stderr
    assert list(world.folder.iterdir()) == []


def test_a_command_that_ends_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "open_sampler", refusing(world))
    result = world.run("-o", "out.json", "--", "sh", "-c", "exit 4")
    assert result.exit_code == 4
    assert "exited before a Python interpreter was found; nothing was written" in result.stderr


def test_a_command_that_cannot_be_started(world: World) -> None:
    result = world.run("-o", "out.json", "--", "/no/such/program")
    assert result.exit_code == 127
    assert result.stderr == "pystack: cannot start /no/such/program: No such file or directory\n"
    result = world.run("-o", "out.json", "--", str(world.folder))
    assert result.exit_code == 126


def test_what_cannot_be_opened_keeps_the_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "open_sampler", refusing(world))
    world.out.write_text("before")
    result = world.run(PID, "-o", "out.json")
    assert isinstance(result.exception, NotPython)
    assert world.out.read_text() == "before"


def test_a_recording_is_pushed_and_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, PushError("HTTP status 503")])

    def push(target: PushTarget, recording: Recording, view: View) -> None:
        assert recording.sample_count == 1
        if (error := next(answers)) is not None:
            raise error

    monkeypatch.setattr(PushTarget, "push", push)
    url = "http://127.0.0.1:1/ingest"
    result = world.run(PID, "-o", "out.json", "--push", url)
    assert result.exit_code == 0
    assert f"pystack: pushed to {url}\n" in result.stderr
    world.out.unlink()
    world.sampler = FakeSampler([one_sample()], ends="target_exited", taken=1)
    result = world.run(PID, "-o", "out.json", "--push", url)
    assert result.exit_code == 1
    assert f"pystack: cannot push to {url}: HTTP status 503\n" in result.stderr
    assert world.out.exists()


def test_a_bad_url_is_refused_before_recording(world: World) -> None:
    result = world.run(PID, "-o", "out.json", "--push", "http://127.0.0.1:1/")
    assert isinstance(result.exception, InvalidArgument)
    assert world.opened == []
    assert not world.out.exists()
