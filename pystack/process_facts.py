"""What the kernel says about a process and about this process: the facts behind every diagnosis.

Nothing here reads the target's memory, and nothing raises: a fact that cannot be read is None.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

CAP_SYS_PTRACE = 19
CAP_SYS_NICE = 23
#: The target may start any number of processes.
_MOST_PARENTS = 1000
_PF_KTHREAD = 0x00200000  # linux/sched.h

Container = Literal["kubernetes", "docker", "podman", "unknown"]


class Credentials(NamedTuple):
    """One side of the kernel's permission check."""

    #: Real, effective, saved and file-system IDs, as in /proc/PID/status.
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    permitted_caps: int
    effective_caps: int
    bounding_caps: int
    #: 0 off, 1 strict, 2 filter.
    seccomp: int
    no_new_privs: bool
    #: "user:[4026531837]".
    user_namespace: str | None
    #: AppArmor profile or SELinux context.
    label: str | None

    @property
    def may_trace_all(self) -> bool:
        return bool(self.effective_caps >> CAP_SYS_PTRACE & 1)

    @property
    def may_raise_priority(self) -> bool:
        return bool(self.effective_caps >> CAP_SYS_NICE & 1)

    @property
    def may_gain_ptrace(self) -> bool:
        """Whether becoming root could bring the capability."""
        return bool(self.bounding_caps >> CAP_SYS_PTRACE & 1)


class ProcessFacts(NamedTuple):
    """The target, from its /proc directory."""

    pid: int
    command_name: str
    #: One letter: Z for a zombie.
    state: str
    #: Differs from `pid` if `pid` is the ID of a thread.
    process_id: int
    parent: int
    #: (pid, command name) of its tracer.
    tracer: tuple[int, str] | None
    is_kernel_thread: bool
    #: Whether the kernel lets its own user read it; None if unknown.
    dumpable: bool | None
    credentials: Credentials


class OwnFacts(NamedTuple):
    """This process, and the machine or container that it runs in."""

    pid: int
    credentials: Credentials
    #: kernel.yama.ptrace_scope; None without Yama.
    yama_scope: int | None
    selinux_enforcing: bool
    in_initial_user_namespace: bool
    container: Container | None


def read_process(pid: int, proc: Path = Path("/proc")) -> ProcessFacts | None:
    """None if there is no such process."""
    directory = proc / str(pid)
    status = _status(directory)
    if status is None:
        return None
    credentials = _credentials(directory, status)
    tracer_pid = _number(status.get("TracerPid"))
    tracer = (tracer_pid, command_name(tracer_pid, proc)) if tracer_pid else None
    # After "pid (name) state": the name may contain spaces and parentheses.
    stat = (_text(directory / "stat") or "").rpartition(")")[2].split()
    flags = _number(stat[6]) if len(stat) > 6 else 0
    return ProcessFacts(
        pid=pid,
        command_name=status.get("Name", "?"),
        state=status.get("State", "?")[:1],
        process_id=_number(status.get("Tgid")) or pid,
        parent=_number(status.get("PPid")),
        tracer=tracer,
        is_kernel_thread=bool(flags & _PF_KTHREAD),
        dumpable=_dumpable(directory, credentials),
        credentials=credentials,
    )


def read_own(proc: Path = Path("/proc"), root: Path = Path("/")) -> OwnFacts:
    """Facts about the calling process."""
    directory = proc / "self"
    status = _status(directory) or {}
    yama = _text(proc / "sys/kernel/yama/ptrace_scope")
    uid_map = (_text(directory / "uid_map") or "").split()
    return OwnFacts(
        pid=_number(status.get("Pid")) or os.getpid(),
        credentials=_credentials(directory, status),
        yama_scope=None if yama is None else _number(yama),
        selinux_enforcing=(_text(root / "sys/fs/selinux/enforce") or "").strip() == "1",
        in_initial_user_namespace=uid_map in ([], ["0", "0", "4294967295"]),
        container=_container(directory, root),
    )


def command_name(pid: int, proc: Path = Path("/proc")) -> str:
    """The kernel's name of a process, or "?" if it cannot be read."""
    return (_text(proc / str(pid) / "comm") or "?").rstrip("\n")


def thread_run_time_ns(pid: int, tid: int, proc: Path = Path("/proc")) -> int | None:
    """How long the thread has run so far."""
    # "run wait timeslices" (Documentation/scheduler/sched-stats.rst).
    words = (_text(proc / str(pid) / "task" / str(tid) / "schedstat") or "").split()
    return _number(words[0]) if words else None


def thread_state(pid: int, tid: int, proc: Path = Path("/proc")) -> str:
    """The letter in /proc/PID/task/TID/stat; "X" if there is no such thread."""
    stat = _text(proc / str(pid) / "task" / str(tid) / "stat") or ""
    return stat.rpartition(")")[2].strip()[:1] or "X"


def children(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """The direct child processes that the kernel lists."""
    found: list[int] = []
    try:
        tasks = list((proc / str(pid) / "task").iterdir())
    except OSError:
        return found
    for task in tasks:
        found += [int(word) for word in (_text(task / "children") or "").split()]
    return sorted(found)


def descendants(
    pid: int, proc: Path = Path("/proc"), *, most_parents: int | None = None
) -> list[int]:
    """The processes that it has started, and those that they have started, nearest first.

    `most_parents` limits the number of processes whose children are looked up.
    """
    found: dict[int, None] = {}
    todo = [pid]
    for parent in islice(todo, most_parents):
        new = [child for child in children(parent, proc) if child not in found and child != pid]
        found.update(dict.fromkeys(new))
        todo += new
    return list(found)


def python_descendants(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """Those descendants that run a program named python, if they are not thousands."""
    nearest = descendants(pid, proc, most_parents=_MOST_PARENTS)[:_MOST_PARENTS]
    return [child for child in nearest if is_named_python(child, proc)]


def is_named_python(pid: int, proc: Path = Path("/proc")) -> bool:
    try:
        program = os.readlink(proc / str(pid) / "exe")  # noqa: PTH115
    except OSError:
        program = ""
    return "python" in program.rpartition("/")[2] or "python" in command_name(pid, proc)


def is_ancestor(ancestor: int, pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether `pid` descends from `ancestor`."""
    for _ in range(1000):
        status = _status(proc / str(pid))
        pid = _number(status.get("PPid")) if status else 0
        if pid == ancestor:
            return True
        if pid <= 1:
            return False
    return False


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _number(text: str | None, base: int = 10) -> int:
    try:
        return int(text or "0", base)
    except ValueError:
        return 0


def _status(directory: Path) -> dict[str, str] | None:
    text = _text(directory / "status")
    if text is None:
        return None
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


def _credentials(directory: Path, status: dict[str, str]) -> Credentials:
    try:
        user_namespace: str | None = os.readlink(directory / "ns/user")  # noqa: PTH115
    except OSError:
        user_namespace = None
    label = (_text(directory / "attr/current") or "").strip("\0\n ")
    return Credentials(
        uids=tuple(int(word) for word in status.get("Uid", "").split()),
        gids=tuple(int(word) for word in status.get("Gid", "").split()),
        permitted_caps=_number(status.get("CapPrm"), 16),
        effective_caps=_number(status.get("CapEff"), 16),
        bounding_caps=_number(status.get("CapBnd"), 16),
        seccomp=_number(status.get("Seccomp")),
        no_new_privs=status.get("NoNewPrivs") == "1",
        user_namespace=user_namespace,
        label=label or None,
    )


def _dumpable(directory: Path, credentials: Credentials) -> bool | None:
    # The files of an undumpable process belong to root. Its directory does not show that: the kernel
    # does not change the owner of world-readable directories (task_dump_owner in fs/proc/base.c).
    try:
        owner = (directory / "status").stat().st_uid
    except OSError:
        return None
    return owner == credentials.uids[1] if len(credentials.uids) > 1 else None


def _container(directory: Path, root: Path) -> Container | None:
    groups = _text(directory / "cgroup") or ""
    if "kubepods" in groups or (root / "var/run/secrets/kubernetes.io").exists():
        return "kubernetes"
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists() or "docker" in groups:
        return "docker"
    if "containerd" in groups or "lxc" in groups:
        return "unknown"
    return None
