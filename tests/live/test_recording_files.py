"""Recording files of real processes: equal to what the recording was, whatever ended it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exported import exported
from interpreters import required
from marks import each_of
from process_state import wait_until
from pystack_profiler.driver import new_recording, record_targets
from pystack_profiler.recorder import open_targets
from pystack_profiler.recording_file import BadRecordingFile, LiveFile, load
from pystack_profiler.settings import Settings
from targets import PROGRAMS, Interpreter
from tool_runs import TOOL, TOOL_FOLDER, run_tool

pytestmark = pytest.mark.live

_RELEASES = [one for one in required() if not (one.debug or one.jit) and one.version >= (3, 8)]
each = each_of(dict.fromkeys([_RELEASES[0], _RELEASES[-1]]))


@each
@pytest.mark.parametrize(("program", "processes"), [("gil_contended.py", 1), ("family.py", 4)])
def test_all_formats_say_what_the_recording_said(
    interpreter: Interpreter, program: str, processes: int, tmp_path: Path
) -> None:
    arguments = ["30", "0"] if program == "family.py" else [str(tmp_path / "roles")]
    settings = Settings(rate_hz=500.0, subprocesses=True)
    path = tmp_path / "x.pystack"

    def is_enough() -> bool:
        return len(recording.profiles) >= processes and recording.sample_count > 1000

    command = interpreter.command(str(PROGRAMS / program), *arguments)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        targets = open_targets(child.pid, settings)
        recording = new_recording(child.pid, settings)
        live = LiveFile(str(path), recording)
        record_targets(
            targets,
            recording,
            60,
            stop_requested=is_enough,
            on_progress=lambda _: live.update(recording),
            log=live,
        )
        live.close(recording)
        for profile in recording.profiles:
            os.kill(profile.process.pid, signal.SIGKILL)
    assert is_enough()
    assert exported(load(str(path))) == exported(recording)


def test_record_and_convert(tmp_path: Path) -> None:
    path = tmp_path / "x.pystack"
    program = "import time; print(5); time.sleep(1)"
    done = run_tool("record", "-o", path, "-r", "200", "--", sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5\n"
    (told,) = [line for line in done.stderr.splitlines() if " (requested " in line]
    for name in ("x.html", "x.json", "x.txt", "x.json.gz", "x.pb.gz", "x.otlp", "again.pystack"):
        done = run_tool("convert", path, "-o", tmp_path / name, "--lines")
        assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "x.json").read_text())
    samples = sum(thread["samples"] for thread in document["pystack"]["threads"])
    assert f"{samples:,} sample" in told
    assert document["pystack"]["target"]["command"][-1] == program
    stdout = run_tool("convert", tmp_path / "again.pystack", "-o", "-", "-f", "folded", "--lines")
    assert stdout.stdout == (tmp_path / "x.txt").read_text()
    refused = run_tool("convert", path, "-o", "-", "--thread", "nobody")
    assert refused.returncode == 2
    assert "nobody" in refused.stderr


@pytest.mark.parametrize("options", [["-o", "x.pystack"], ["-o", "x.html", "--keep"]])
def test_a_killed_recorder_leaves_a_file(options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.pystack"
    busy = "while True: sum(range(100))"

    def has_samples() -> bool:
        try:
            return load(str(path)).sample_count > 100
        except (FileNotFoundError, BadRecordingFile):
            return False

    with subprocess.Popen([sys.executable, "-c", busy]) as target:
        output = [str(tmp_path / one) if one.startswith("x.") else one for one in options]
        arguments = [*TOOL, "record", "-r", "1000", *output, str(target.pid)]
        with subprocess.Popen(arguments, cwd=TOOL_FOLDER) as recorder:
            wait_until(has_samples, "samples in the file")  # which can be read while it grows
            recorder.send_signal(signal.SIGKILL)
        target.kill()
    recording = load(str(path))
    assert recording.sample_count > 100
    assert recording.end_reason == "running"
    assert not (tmp_path / "x.html").exists()
    done = run_tool("convert", path, "-o", tmp_path / "x.html")
    assert done.returncode == 0, done.stderr


def test_a_full_disk_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.pystack"
    program = """
def f(n):
    exec(compile(f"def g{n}(): sum(range(99)); f({n} + 1)\\ng{n}()", f"/srv/{n}.py", "exec"), globals())
import sys
sys.setrecursionlimit(500)
for turn in range(10**9):
    try: f(1000 * turn)
    except RecursionError: pass
"""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    with subprocess.Popen([sys.executable, "-c", program]) as target:
        done = run_tool("record", "-r", "1000", "-o", path, target.pid, preexec_fn=limit)
        target.kill()
    assert done.returncode == 1
    assert f"cannot write {path}" in done.stderr
    assert "recording ends" in done.stderr
    assert f"{path} (lacks the last of these): " in done.stderr
    assert [*tmp_path.iterdir()] == [path]
    assert load(str(path)).pid == target.pid
    assert path.stat().st_size <= 2_000_000


def test_in_a_shared_folder_the_place_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    program = "import time; time.sleep(0.5)"
    path = tmp_path / "x.pystack"
    done = run_tool("record", "-o", path, "--", sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    assert f"until the end, the file is {tmp_path}/.pystack-" in done.stderr
    assert [*tmp_path.iterdir()] == [path]
    assert load(str(path)).sample_count


def test_no_python_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pystack"
    done = run_tool("record", "-s", "-o", path, "--", "sh", "-c", "sleep 0.3; exit 4")
    assert done.returncode == 4
    assert not [*tmp_path.iterdir()]
    assert os.path.basename(path) not in done.stderr  # noqa: PTH119


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + bytes(200), b"\x7fELF"])
def test_other_files_are_refused_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pystack"
    path.write_bytes(content)
    done = run_tool("convert", path, "-o", tmp_path / "x.html")
    assert done.returncode == 1
    assert "is not a recording of pystack" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.html").exists()


def test_report_of_a_file_and_of_a_process(tmp_path: Path) -> None:
    path = tmp_path / "x.pystack"
    program = """
def busy():
    while True: sum(range(100))
def main():
    busy()
main()
"""
    with subprocess.Popen([sys.executable, "-c", program]) as target:
        done = run_tool("record", "-d", "1s", "-r", "200", "-o", path, target.pid)
        assert done.returncode == 0, done.stderr
        live = run_tool("report", target.pid, "-d", "500ms", "--json")
        target.kill()
    assert json.loads(live.stdout)["functions"][0]["name"] == "busy", live.stderr
    text = run_tool("report", path)
    assert text.returncode == 0, text.stderr
    assert len(text.stdout.splitlines()) <= 60
    assert text.stdout == run_tool("report", path).stdout
    assert "busy (<string>:2)" in text.stdout
    assert json.loads(run_tool("report", path, "--json").stdout)["functions"][0]["name"] == "busy"
    assert "main (<string>:4)" in run_tool("report", path, "callers", "busy").stdout
    refused = run_tool("report", path, "callers", "nothing")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
