"""What another user may have put where a file is to be written: nothing of it is followed or taken
over. Everything lies in a sticky folder, as /tmp is one."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from process_state import wait_until
from pystack_profiler.output import check_writable, replacing
from security.attackers import ATTACKER_ID, needs_root
from tool_runs import TOOL, TOOL_TIMEOUT_S, run_tool, takes_samples

pytestmark = needs_root

SECRET = "root:secret"


@pytest.fixture
def sticky(tmp_path: Path) -> Path:
    folder = tmp_path / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of root's that the attacker wants replaced."""
    path = tmp_path / "victim"
    path.write_text(SECRET)
    return path


@pytest.fixture(scope="module")
def target() -> Iterator[int]:
    program = "print('ready', flush=True)\nwhile True: pass"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def given_away(path: Path) -> Path:
    os.chown(path, ATTACKER_ID, ATTACKER_ID, follow_symlinks=False)
    return path


def write(path: Path, text: str = "new") -> None:
    check_writable(str(path))
    with replacing(str(path)) as stream:
        stream.write(text)


def is_refused(path: Path, sentence: str) -> None:
    """Both before the work and after it: it may have been put there meanwhile."""
    with pytest.raises(PermissionError, match=sentence):
        check_writable(str(path))
    with pytest.raises(PermissionError, match=sentence), replacing(str(path)) as stream:
        stream.write("new")


def record(target: int, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOOL, "record", str(target), "-d", "200ms", *map(str, arguments)],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TOOL_TIMEOUT_S,
    )


def test_a_profile_does_not_become_a_setuid_program(target: int, sticky: Path) -> None:
    planted = sticky / "out.html"
    planted.touch()
    given_away(planted).chmod(0o4777)
    done = record(target, "-o", planted, folder=sticky)
    assert done.returncode == 1
    assert done.stderr == (
        f"pystack: cannot write {planted}: a file of user {ATTACKER_ID}, in a folder that other"
        " users can write to\n"
    )
    # Where nobody else can write, a foreign file is replaced, but nothing is taken over from it.
    elsewhere = sticky.parent / "out.html"
    planted.rename(elsewhere)
    assert record(target, "-o", elsewhere, folder=sticky).returncode == 0
    status = elsewhere.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o600)


def test_special_bits_of_our_own_file_are_not_kept(sticky: Path) -> None:
    path = sticky / "out.txt"
    path.touch()
    path.chmod(0o7757)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o646


def test_permissions_of_a_file_with_another_name_are_not_kept(sticky: Path, victim: Path) -> None:
    """An attacker can make such a name, unless fs.protected_hardlinks is set."""
    victim.chmod(0o666)
    path = sticky / "out.txt"
    path.hardlink_to(victim)
    with replacing(str(path), owner_only=True) as stream:
        stream.write("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert victim.read_text() == SECRET


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("owner", [ATTACKER_ID, 0])
def test_a_planted_link_is_not_followed(
    owner: int, there: bool, sticky: Path, victim: Path
) -> None:
    if not there:
        victim.unlink()
    link = sticky / "out.html"
    link.symlink_to(victim)
    os.chown(link, owner, owner, follow_symlinks=False)
    is_refused(link, "a symbolic link of user")
    assert victim.exists() == there
    assert link.is_symlink()


def test_the_default_name_does_not_follow_links(target: int, sticky: Path, victim: Path) -> None:
    now = time.time()
    for second in range(100):
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now + second))
        link = sticky / f"pystack-{target}-{moment}.html"
        link.symlink_to(victim)
        given_away(link)
    done = record(target, folder=sticky)
    assert done.returncode == 1
    assert "a symbolic link of user 2001" in done.stderr
    assert victim.read_text() == SECRET


def test_a_link_on_the_way_is_not_followed(sticky: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    link = sticky / "results"
    link.symlink_to(private)
    given_away(link)
    is_refused(link / "out.html", "results is a symbolic link of user 2001")
    assert list(private.iterdir()) == []
    # Our own is, and so is one in a folder where nobody else can make any.
    for own in (sticky / "own", tmp_path / "own"):
        own.symlink_to(private)
        write(own / "out.html")
    given_away(tmp_path / "own")
    write(tmp_path / "own" / "out.html")


def test_a_link_leads_no_further_than_a_planted_one(
    sticky: Path, tmp_path: Path, victim: Path
) -> None:
    planted = sticky / "planted"
    planted.symlink_to(victim)
    given_away(planted)
    ours = tmp_path / "ours"
    ours.symlink_to(planted)
    is_refused(ours, "planted is a symbolic link of user 2001")


def test_what_others_own_is_not_written_to(sticky: Path) -> None:
    pipe = sticky / "pipe"
    os.mkfifo(pipe, 0o666)
    given_away(pipe)
    is_refused(pipe, "a pipe of user 2001")
    device = sticky / "device"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    given_away(device)
    is_refused(device, "a device of user 2001")


def test_the_folder_of_another_user_is_his(tmp_path: Path, victim: Path) -> None:
    """He can put links into it, although nobody else can."""
    folder = tmp_path / "his"
    folder.mkdir()
    link = folder / "out.html"
    link.symlink_to(victim)
    given_away(link)
    given_away(folder)
    is_refused(link, "a symbolic link of user 2001")
    write(folder / "new.html")
    assert (folder / "new.html").stat().st_uid == 0


def test_what_is_swapped_while_we_work_is_not_followed(sticky: Path, victim: Path) -> None:
    """The file goes into the folder that was found, and replaces what has its name."""
    folder = sticky / "folder"
    folder.mkdir()
    with replacing(str(folder / "out.txt")) as stream:
        stream.write("new")
        folder.rename(sticky / "moved")
        folder.symlink_to(victim.parent)
        link = sticky / "moved" / "out.txt"
        link.symlink_to(victim)
        given_away(link)
    assert victim.read_text() == SECRET
    assert not link.is_symlink()
    assert link.read_text() == "new"


def test_a_pipe_of_our_own_is_waited_for(target: int, sticky: Path) -> None:
    pipe = sticky / "pipe.txt"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [*TOOL, "record", str(target), "-d", "200ms", "-o", str(pipe)],
        cwd=sticky,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"pystack: waiting for a reader of {pipe}\n"
        assert "<module>" in pipe.read_text()
        process.stderr.read()
        assert process.wait(TOOL_TIMEOUT_S) == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_recordings_with_command_lines_are_for_their_owner(target: int, tmp_path: Path) -> None:
    for name, mode in (("out.html", 0o600), ("out.json", 0o600), ("out.txt", 0o644)):
        done = run_tool("record", target, "-d", "200ms", "-o", tmp_path / name, umask=0o022)
        assert done.returncode == 0
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
        assert ("only its owner can read the file" in done.stderr) == (mode == 0o600)


@contextmanager
def recording(target: int, output: Path) -> Iterator[subprocess.Popen[str]]:
    """One that has begun, and goes on until SIGINT."""
    with subprocess.Popen(
        [*TOOL, "record", str(target), "-o", str(output)],
        cwd=output.parent.parent,
        stderr=subprocess.PIPE,
        text=True,
    ) as recorder:
        try:
            wait_until(lambda: takes_samples(recorder.pid), "the first samples")
            yield recorder
        finally:
            recorder.kill()


@pytest.mark.parametrize("taken_by", ["file", "folder", "nobody"])
def test_a_name_that_is_taken_meanwhile_does_not_lose_the_recording(
    taken_by: str, target: int, sticky: Path, tmp_path: Path
) -> None:
    output = sticky / "out.html"
    with recording(target, output) as recorder:
        if taken_by == "file":
            output.touch()
            given_away(output)
        elif taken_by == "folder":
            output.mkdir()
        else:
            sticky.rmdir()
        recorder.send_signal(signal.SIGINT)
        _, text = recorder.communicate(timeout=TOOL_TIMEOUT_S)
    assert recorder.returncode == 1
    assert f"cannot write {output}" in text
    found = re.search(r"to view the file: open (\S+) in a browser", text)
    assert found, text
    saved = Path(found[1])
    assert saved.stat().st_uid == 0
    assert "<html" in saved.read_text()
    saved.unlink()


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"])
def test_standard_output_in_a_file_is_not_replaced(name: str, target: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        stream.write("before\n")
        stream.flush()
        subprocess.run(
            [*TOOL, "record", str(target), "-d", "200ms", "-f", "folded", "-o", name],
            check=True,
            stdout=stream,
            stderr=subprocess.DEVNULL,
            timeout=TOOL_TIMEOUT_S,
        )
        stream.write("after\n")
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert len(lines) > 2
