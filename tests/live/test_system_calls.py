"""The tool writes nothing to the target: its system calls, one by one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from counting_target import counting_target
from interpreters import FULL_MATRIX_VARIABLE, required
from marks import each_of
from process_state import thread_ids
from targets import Interpreter
from tool_runs import TOOL, TOOL_FOLDER, TOOL_TIMEOUT_S

pytestmark = pytest.mark.live

# The tool does the same to all of them; two that differ most are enough.
RELEASE_BUILDS = [one for one in required() if not (one.debug or one.jit or one.free_threaded)]
OLDEST, NEWEST = RELEASE_BUILDS[0], RELEASE_BUILDS[-1]
oldest_and_newest = each_of(dict.fromkeys([OLDEST, NEWEST]))

# Those that read, and those that stop a thread or let it go. None of them changes anything else.
HARMLESS_PTRACE = {
    "PTRACE_SEIZE",
    "PTRACE_INTERRUPT",
    "PTRACE_LISTEN",
    "PTRACE_CONT",
    "PTRACE_DETACH",
    "PTRACE_GETREGSET",
    "PTRACE_GETREGS",
    "PTRACE_GETSIGINFO",
    "PTRACE_GETEVENTMSG",
    "PTRACE_PEEKDATA",
    "PTRACE_GET_SYSCALL_INFO",
}
OPENING = ("open", "openat", "openat2", "creat")
WRITING = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "splice")
SIGNALLING = (
    *("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    *("pidfd_open", "pidfd_send_signal"),
)
# Those that are an offence if the first argument is the target.
CHANGING = (
    *("process_vm_writev", "process_madvise", "migrate_pages", "move_pages"),
    *("prlimit64", "sched_setaffinity", "setpriority", "setpgid"),
)
TRACED_CALLS = ("ptrace", "process_vm_readv", *OPENING, *WRITING, *SIGNALLING, *CHANGING)


def strace(folder: Path, *arguments: object, env: dict[str, str] | None = None) -> list[str]:
    """The system calls of one run of the tool, one a line, with paths beside descriptors."""
    if shutil.which("strace") is None:
        if os.environ.get(FULL_MATRIX_VARIABLE) == "1":
            pytest.fail("no strace")
        pytest.skip("no strace")
    log = folder / "strace.txt"
    traced = f"trace={','.join(TRACED_CALLS)}"
    command = ["strace", "-f", "-y", "-s", "64", "-e", traced, "-o", str(log)]
    done = subprocess.run(
        [*command, *TOOL, *map(str, arguments)],
        check=False,
        cwd=TOOL_FOLDER,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=TOOL_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return log.read_text(errors="replace").splitlines()


def offences(calls: list[str], pids: list[int]) -> list[str]:
    """The calls of a trace by which the tool changes, or could change, the target."""
    targets = "|".join(map(str, pids))
    found = []
    for line in calls:
        call = re.match(r"\d+ +(\w+)\((.*)", line)
        # Other lines are signals, exits, and the second halves of interrupted calls.
        if call is not None and is_offence(call[1], call[2], targets):
            found.append(line)
    return found


def is_offence(name: str, arguments: str, targets: str) -> bool:
    on_its_files = re.search(rf'/proc/({targets})[/>"]', arguments) is not None
    if name == "ptrace":
        request = re.match(r"(\w+), \d+(?:, \w+, (\w+))?", arguments)
        assert request is not None, arguments
        with_signal = request[1] in ("PTRACE_CONT", "PTRACE_DETACH") and request[2] != "0"
        return request[1] not in HARMLESS_PTRACE or with_signal
    if name in OPENING:
        return on_its_files and re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", arguments) is not None
    if name in WRITING:
        return on_its_files
    if name in SIGNALLING:
        return re.match(rf"({targets}), .*SIG", arguments) is not None
    return name in CHANGING and re.match(rf"({targets})\b", arguments) is not None


@pytest.mark.parametrize("reading", ["process_vm_readv", "mem file"])
@pytest.mark.parametrize(
    "command",
    [["dump"], ["dump", "--no-block"], ["record", "--block"], ["record", "--no-block"]],
    ids=" ".join,
)
@oldest_and_newest
def test_system_calls(
    interpreter: Interpreter, command: list[str], reading: str, tmp_path: Path
) -> None:
    env = {"PYSTACK_NO_PROCESS_VM_READV": "1"} if reading == "mem file" else {}
    options = ["-d", "1", "-r", "200", "-o", tmp_path / "out.json"] if "record" in command else []
    with counting_target(interpreter, tmp_path) as target:
        calls = strace(tmp_path, *command, *options, target.pid, env=env)
        assert offences(calls, thread_ids(target.pid)) == []
        target.assert_runs_on("after the trace")
    # That this would have seen anything:
    if reading == "mem file":
        assert [line for line in calls if f'/proc/{target.pid}/mem", O_RDONLY' in line]
    else:
        assert [line for line in calls if re.search(rf"process_vm_readv\({target.pid},", line)]
    stops = [line for line in calls if "PTRACE_SEIZE" in line]
    assert bool(stops) is ("--no-block" not in command)
    if "--no-block" in command:
        assert not [line for line in calls if "ptrace(" in line]


@pytest.mark.parametrize(
    "line",
    [
        "17 ptrace(PTRACE_ATTACH, 4711)                = 0",
        "17 ptrace(PTRACE_POKEDATA, 4711, 0x7f, 0x1)   = 0",
        "17 ptrace(PTRACE_SETREGSET, 4712, NT_PRSTATUS, {iov_base=0x7f}) = 0",
        "17 ptrace(PTRACE_CONT, 4711, NULL, SIGSTOP)   = 0",
        '17 process_vm_writev(4711, [{iov_base=""}], 1, [{iov_base=0x7f}], 1, 0) = 8',
        '17 openat(AT_FDCWD</tmp>, "/proc/4711/mem", O_RDWR|O_CLOEXEC) = 3',
        '17 openat(5</proc/4711>, "mem", O_WRONLY) = 3',
        '17 openat(AT_FDCWD</tmp>, "/proc/4711/task/4712/comm", O_WRONLY) = 3',
        '17 write(3</proc/4711/mem>, "x", 1)          = 1',
        "17 kill(4711, SIGCONT)                        = 0",
        "17 tgkill(4711, 4712, SIGSTOP)                = 0",
    ],
)
def test_offences_are_seen(line: str) -> None:
    assert offences([line], [4711, 4712]) == [line]


def test_harmless_calls_are_none() -> None:
    lines = [
        "17 ptrace(PTRACE_SEIZE, 4711, NULL, 0)        = 0",
        "17 ptrace(PTRACE_CONT, 4711, NULL, 0)         = 0",
        "17 ptrace(PTRACE_CONT, 4711, NULL, 0 <unfinished ...>",
        '17 openat(AT_FDCWD</tmp>, "/proc/4711/mem", O_RDONLY|O_CLOEXEC) = 3',
        '17 openat(AT_FDCWD</tmp>, "/tmp/out.json", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3',
        '17 write(3</tmp/out.json>, "x", 1)            = 1',
        "17 kill(4711, 0)                              = 0",
        "17 kill(47110, SIGTERM)                       = 0",
        "17 prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024}) = 0",
        "17 process_vm_readv(4711, [], 1, [], 1, 0)    = 8",
    ]
    assert offences(lines, [4711, 4712]) == []
