"""A target names files that its owner must not read as its source: no line of them is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pystack import _core
from security.attackers import ATTACKER_ID, attack, attacker_folder, needs_root
from security.meter import measured
from tool_runs import run_tool

pytestmark = needs_root

SECRET = "the-secret-line"

# Frames within each other, each in the first line of a file of the given name.
NAMING = """
import sys, time

def chain(paths):
    if not paths:
        print("ready", flush=True)
        time.sleep(1000)
    space = {}
    exec(compile("def call(next): next()", paths[0], "exec"), space)
    space["call"](lambda: chain(paths[1:]))

chain(sys.argv[1:])
"""

# Does what stdin says, which is one of the expressions below.
OBEDIENT = """
import os, sys
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("ready", flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with attacker_folder() as made:
        yield made


def secret_file(path: Path, mode: int = 0o600) -> Path:
    """A file of root's."""
    path.write_text(SECRET + "\n")
    path.chmod(mode)
    os.chown(path, 0, 0)
    return path


def test_files_of_others_are_not_shown(folder: Path) -> None:
    secret = secret_file(folder / "secret.py")
    (folder / "link.py").symlink_to("secret.py")
    (folder / "closed").mkdir(0o700)
    secret_file(folder / "closed" / "secret.py", 0o644)
    (folder / "mine.py").write_text("shown = 1\n")
    (folder / "mine.py").chmod(0o600)
    os.chown(folder / "mine.py", ATTACKER_ID, ATTACKER_ID)
    names = (
        secret,
        "secret.py",
        "../../../../../../../../etc/shadow",
        folder / "link.py",
        folder / "closed" / "secret.py",
        "/etc/shadow",
        "/proc/self/environ",
        "/proc/self/cmdline",
        "/proc/1/environ",
        "/proc/kmsg",
        "/sys/kernel/notes",
        folder / "mine.py",
        "./mine.py",
    )
    with attack(folder, NAMING, *names) as process:
        done = run_tool("dump", process.pid, env={**os.environ, "SECRET": SECRET})
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout
    assert "root:" not in done.stdout
    assert "pystack" not in done.stdout  # of the command line
    assert done.stdout.count("shown = 1") == 2
    lines = done.stdout.splitlines()
    for name in names[:-2]:
        below = next(i for i, line in enumerate(lines) if f'File "{name}"' in line) + 1
        assert lines[below].lstrip().startswith(("File ", "(source not read")), lines[below]


def test_one_file_under_many_names_is_read_once(folder: Path) -> None:
    size = 16 << 20
    (folder / "big.py").write_bytes(b"\n" * size)
    names = [f"{folder}{'/.' * number}/big.py" for number in range(12)]
    with attack(folder, NAMING, *names) as process:
        run = measured("dump", process.pid)
    assert run.stdout.count("big.py") >= 12
    assert run.peak_mib < 200  # Of it one file has 16.


@contextmanager
def obedient_process() -> Iterator[subprocess.Popen[str]]:
    """A process of root's that does what it is told."""
    process = subprocess.Popen(
        [sys.executable, "-c", OBEDIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    assert process.stdout.readline() == "ready\n"


def is_opened(files: _core.Files, path: Path) -> bool:
    try:
        os.close(files.open(os.fsencode(path)))
    except PermissionError:
        return False
    return True


@pytest.mark.parametrize(
    "change",
    [
        f"os.setresuid({ATTACKER_ID}, {ATTACKER_ID}, {ATTACKER_ID})",
        f"os.execv(sys.executable, [sys.executable, '-c', {OBEDIENT!r}])",
    ],
    ids=["other user", "other program"],
)
def test_a_process_that_becomes_another_loses_its_rights(folder: Path, change: str) -> None:
    secret = secret_file(folder / "secret.py")
    public = secret_file(folder / "public.py", 0o644)
    with obedient_process() as process:
        files = _core.process_files(process.pid)
        assert is_opened(files, secret)
        tell(process, change)
        assert not is_opened(files, secret)
        assert is_opened(files, public)


def test_relative_names_do_not_lead_out_of_a_chroot(folder: Path) -> None:
    """The process changes its root only, and stays in a folder outside of it."""
    (folder / "root").mkdir()
    (folder / "outside").mkdir()
    (folder / "outside" / "script.py").write_text("shown\n")
    secret_file(folder / "secret.py")
    (folder / "root" / "link.py").symlink_to("../../secret.py")
    with obedient_process() as process:
        tell(process, f"os.chdir({str(folder / 'outside')!r}); os.chroot({str(folder / 'root')!r})")
        files = _core.process_files(process.pid)
        assert is_opened(files, Path("script.py"))
        for name in (
            "../secret.py",
            "../root/../secret.py",
            "/../secret.py",
            "/link.py",
            "../" * 9,
        ):
            with pytest.raises(OSError, match=r"No such file|Is a directory"):
                files.open(name.encode())


def test_the_tool_is_itself_again(folder: Path) -> None:
    secret = secret_file(folder / "secret.py")
    with attack(folder, NAMING, secret) as process:
        files = _core.process_files(process.pid)
        assert not is_opened(files, secret)
    assert secret.read_text() == SECRET + "\n"
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/thread-self/status").read_text().splitlines()
    )
    assert status["Uid"].split() == ["0"] * 4
    assert int(status["CapEff"], 16) & 0b110 == 0b110
