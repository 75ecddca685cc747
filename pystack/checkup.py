"""What is allowed on this machine, and for one process, before it is needed: `pystack doctor`.

Facts about the machine come from files of the kernel. What holds for a process is tried, with the calls that the
commands make, so the answers are theirs.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pystack import api, diagnosis, process_facts
from pystack.errors import PystackError
from pystack.model import Snapshot
from pystack.process_facts import OwnFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PROC, _ROOT = Path("/proc"), Path("/")
#: Clocks that a program reads without a system call, on x86-64.
_FAST_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page")

#: "ok": nothing is to be done. "note": something is less good than it could be. "problem": a command will fail.
Level = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """One thing that was looked at."""

    subject: str
    level: Level
    #: What was found; a sentence without a full stop.
    text: str
    #: What to do about it, with the command; a sentence. None if there is nothing to do.
    fix: str | None = None


class Checkup(NamedTuple):
    """The result for one process."""

    pid: int
    findings: tuple[Finding, ...]
    #: That of `pystack dump PID`: 0, or that of its error.
    exit_code: int


def check_machine(proc: Path = _PROC, root: Path = _ROOT) -> tuple[Finding, ...]:
    """What holds for all processes. Reads nothing of them."""
    own = process_facts.read_own(proc, root)
    return (
        Finding("system", "ok", _system()),
        _permission(own),
        *_sandbox(own),
        _priority(own),
        *_clock(root),
        _core_pattern(proc),
        _core_limit(),
        _debug_files(root),
    )


def check_process(pid: int) -> Checkup:
    """Dumps the process three times; the output is not kept."""
    stopped, error = _tried(lambda: api.dump(pid))
    findings = [_dump_finding("dump", stopped, error)]
    running, refusal = _tried(lambda: api.dump(pid, block=False))
    findings.append(_dump_finding("dump --no-block", running, refusal))
    if stopped is not None:
        findings.append(_version(stopped))
        native, failure = _tried(lambda: api.dump(pid, native=True))
        findings.append(_dump_finding("dump --native", native, failure))
        findings.append(_core_limit(pid))
    return Checkup(pid, tuple(findings), 0 if error is None else error.exit_code)


def _tried(call: Callable[[], Snapshot]) -> tuple[Snapshot | None, PystackError | None]:
    try:
        return call(), None
    except PystackError as error:
        return None, error


def _dump_finding(subject: str, snapshot: Snapshot | None, error: PystackError | None) -> Finding:
    if snapshot is None:
        return Finding(subject, "problem", str(error), error.hint if error else None)
    threads = f"{len(snapshot.threads)} thread" + "s" * (len(snapshot.threads) != 1)
    torn = sum(thread.stack_end == "torn" for thread in snapshot.threads)
    if snapshot.problems:
        return Finding(subject, "note", f"{threads}; {'; '.join(snapshot.problems)}")
    if torn:
        changed = f"the stacks of {torn} changed faster than they could be read"
        return Finding(
            subject, "note", f"{threads}; {changed}", "Try again, or without --no-block."
        )
    return Finding(subject, "ok", threads)


def _version(snapshot: Snapshot) -> Finding:
    kind = " (free-threaded)" if snapshot.free_threaded else ""
    return Finding("Python", "ok", f"CPython {snapshot.version}{kind}, {snapshot.executable}")


def _system() -> str:
    system = platform.uname()
    return f"{system.system} {system.release} on {system.machine}, CPython {sys.version.split()[0]}"


def _permission(own: OwnFacts) -> Finding:
    subject = "permission"
    if own.yama_scope == 3:
        return Finding(subject, "problem", *diagnosis.NO_TRACING)
    if own.credentials.may_trace_all:
        return Finding(subject, "ok", "may read the processes of all users (CAP_SYS_PTRACE)")
    fix = diagnosis.privilege_fix(own)
    if own.yama_scope in (1, 2):
        who = "its own children" if own.yama_scope == 1 else "no process"
        text = f"may read {who} (kernel.yama.ptrace_scope is {own.yama_scope})"
        return Finding(subject, "problem" if own.yama_scope == 2 else "note", text, fix)
    return Finding(subject, "note", "may read processes of the same user only", fix)


def _sandbox(own: OwnFacts) -> Iterator[Finding]:
    if own.container is not None:
        kind = "a container" if own.container == "unknown" else f"a container ({own.container})"
        yield Finding("container", "ok", f"this is {kind}: only processes inside of it can be seen")
    if own.credentials.seccomp == 2:
        yield Finding(
            "seccomp", "note", "a seccomp filter is active; it may forbid reading other processes"
        )
    if not own.in_initial_user_namespace:
        yield Finding(
            "user namespace",
            "note",
            "root here is not root of the machine: processes outside cannot be read",
        )


def _priority(own: OwnFacts) -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    if own.credentials.may_raise_priority or soft > 0:
        return Finding("priority", "ok", "may have real-time priority while a process stands still")
    return Finding(
        "priority",
        "note",
        "no real-time priority: on a busy machine, processes stand still for longer",
        "Run pystack as root, or with CAP_SYS_NICE.",
    )


def _clock(root: Path) -> Iterator[Finding]:
    folder = root / "sys/devices/system/clocksource/clocksource0"
    clock = _text(folder / "current_clocksource")
    if clock is None or clock in _FAST_CLOCKS:
        return
    available = (_text(folder / "available_clocksource") or "").split()
    better = next((name for name in _FAST_CLOCKS if name in available), None)
    fix = None
    if better is not None:
        fix = f"Run `echo {better} | sudo tee {folder / 'current_clocksource'}`."
    yield Finding("clock", "note", f"the clock source {clock} is slow: recording costs more", fix)


def _core_pattern(proc: Path) -> Finding:
    pattern = _text(proc / "sys/kernel/core_pattern")
    subject = "core pattern"
    if pattern is None:
        return Finding(subject, "note", "cannot be read")
    if pattern.startswith("|"):
        program = pattern[1:].split(" ", 1)[0]
        hint = "coredumpctl list" if program.endswith("systemd-coredump") else None
        return Finding(
            subject,
            "ok",
            f"cores are given to {program}",
            f"`{hint}` shows them; `pystack core` reads what it exports." if hint else None,
        )
    where = "" if pattern.startswith("/") else ", in the current directory of the process"
    return Finding(subject, "ok", f"cores are written to {pattern}{where}")


def _core_limit(pid: int = 0) -> Finding:
    """Of a process, or of this one, from which others inherit it."""
    subject = "core limit"
    try:
        soft, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
    except OSError:
        return Finding(subject, "note", "cannot be read")
    if soft == resource.RLIM_INFINITY:
        return Finding(subject, "ok", "a crash leaves a whole core")
    if soft > 0:
        return Finding(subject, "note", f"cores are cut at {soft} bytes", _core_fix(pid, hard))
    return Finding(subject, "note", "a crash leaves no core (the limit is 0)", _core_fix(pid, hard))


def _core_fix(pid: int, hard: int) -> str:
    if pid:
        return f"Run `sudo prlimit --pid {pid} --core=unlimited`."
    if hard == resource.RLIM_INFINITY:
        return "Run `ulimit -c unlimited` in the shell that starts the program."
    return "As root, run `ulimit -c unlimited` in the shell that starts the program."


def _debug_files(root: Path) -> Finding:
    folder = root / "usr/lib/debug/.build-id"
    servers = os.environ.get("DEBUGINFOD_URLS", "").split()
    if servers:
        return Finding("debug files", "ok", f"--native can download them ({servers[0]})")
    if folder.is_dir():
        return Finding("debug files", "ok", f"--native uses those in {folder}")
    return Finding(
        "debug files",
        "note",
        "there are none: --native knows fewer names and no lines of stripped files",
        "Set DEBUGINFOD_URLS to the server of your distribution, or install its -dbg packages.",
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def to_json(machine: Sequence[Finding], processes: Sequence[Checkup]) -> dict[str, Any]:
    """The JSON output of `pystack doctor`."""
    return {
        "schema_version": 1,
        "machine": [finding._asdict() for finding in machine],
        "processes": [
            {
                "pid": one.pid,
                "exit_code": one.exit_code,
                "findings": [finding._asdict() for finding in one.findings],
            }
            for one in processes
        ],
    }
