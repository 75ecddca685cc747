"""Finds out why a process cannot be read, and what to do about it.

The kernel only says "permission denied". The checks below have the order of `__ptrace_may_access` in
kernel/ptrace.c and of the security modules after it; the first check that fails is the cause. Facts
come from `process_facts`; the rules only compare them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from pystack import errors, process_facts
from pystack.process_facts import OwnFacts, ProcessFacts

_PROC = Path("/proc")


class Diagnosis(NamedTuple):
    """One sentence each. The cause has no full stop, as in error messages."""

    cause: str
    fix: str


#: With kernel.yama.ptrace_scope 3.
NO_TRACING = Diagnosis(
    "this machine forbids all tracing (kernel.yama.ptrace_scope is 3)",
    "Reboot with a lower kernel.yama.ptrace_scope; it cannot be lowered otherwise.",
)


def explain(
    error: errors.TargetError, pid: int, *, stop: bool, proc: Path = _PROC, root: Path = Path("/")
) -> errors.TargetError:
    """Returns the error with the cause and the hint for this case."""
    target = process_facts.read_process(pid, proc)
    if isinstance(error, errors.PermissionDenied):
        if target is None:
            return errors.TargetExited(f"process {pid} exited", pid=pid)
        own = process_facts.read_own(proc, root)
        related = process_facts.is_ancestor(own.pid, pid, proc)
        found = diagnose_permission(target, own, stop=stop, is_descendant=related)
        return errors.PermissionDenied(
            f"no permission to read process {pid}: {found.cause}",
            pid=pid,
            hint=found.fix,
            cause=found.cause,
        )
    if isinstance(error, errors.NoSuchProcess):
        if target is None and _is_hidden(pid):
            cause = "/proc hides the processes of other users here (mount option hidepid)"
            return errors.PermissionDenied(
                f"no permission to read process {pid}: {cause}",
                pid=pid,
                hint=f"Run pystack as root: sudo {_command(pid)}.",
                cause=cause,
            )
        if target is not None and target.process_id != pid:
            error.hint = f"{pid} is a thread of process {target.process_id}: use that number."
    elif isinstance(error, errors.UnsupportedTarget) and target is not None:
        error.hint = _unsupported_hint(target, proc)
    elif isinstance(error, errors.NotPython) and target is not None:
        error.hint = _not_python_hint(target, proc) or error.hint
    return error


def diagnose_permission(
    target: ProcessFacts, own: OwnFacts, *, stop: bool, is_descendant: bool = False
) -> Diagnosis:
    """Why `own` may not read `target`; `stop`: whether the target was to be stopped."""
    if stop and target.pid == own.pid:
        return Diagnosis(
            "a process cannot stop itself", "Read it without stopping it: block=False."
        )
    if own.yama_scope == 3:
        return NO_TRACING
    if stop and target.tracer is not None:
        pid, name = target.tracer
        return Diagnosis(
            f"it is already traced by {name} (pid {pid})",
            f"Detach {name} first, or read the process without stopping it: block=False.",
        )
    cause = _missing_privilege(target, own, is_descendant=is_descendant)
    if cause is not None:
        return Diagnosis(cause, privilege_fix(own, target.pid))
    return _beyond_privilege(target, own)


def _missing_privilege(target: ProcessFacts, own: OwnFacts, *, is_descendant: bool) -> str | None:
    """The check that fails only because CAP_SYS_PTRACE is missing."""
    theirs, ours = target.credentials, own.credentials
    if ours.may_trace_all or not (ours.uids and theirs.uids and ours.gids and theirs.gids):
        return None
    if any(uid != ours.uids[0] for uid in theirs.uids[:3]):
        return f"it runs as {_user(theirs.uids)} and you are {_user(ours.uids)}"
    if any(gid != ours.gids[0] for gid in theirs.gids[:3]):
        return f"it runs in group {theirs.gids[1]} and you are in group {ours.gids[1]}"
    if target.dumpable is False:
        return (
            "it is protected from its own user (it is a setuid program, its file is not readable,"
            " or it called prctl(PR_SET_DUMPABLE))"
        )
    if None not in (theirs.user_namespace, ours.user_namespace) and (
        theirs.user_namespace != ours.user_namespace
    ):
        return "it runs in another user namespace"
    if theirs.permitted_caps & ~ours.permitted_caps:
        return "it has capabilities that you do not have"
    if own.yama_scope == 1 and not is_descendant:
        return "only its ancestor processes may read it (kernel.yama.ptrace_scope is 1)"
    if own.yama_scope == 2:
        return "only administrators may read processes (kernel.yama.ptrace_scope is 2)"
    return None


def privilege_fix(own: OwnFacts, pid: int | None = None) -> str:
    """How to obtain CAP_SYS_PTRACE in this environment; `pid`: for which process."""
    ours = own.credentials
    if not ours.may_gain_ptrace:
        return _container_fix(own)
    if ours.no_new_privs:
        return (
            "Run pystack as root from another shell: this one cannot gain privileges"
            " (no_new_privs), so sudo does not work."
        )
    if ours.uids[1] == 0:
        return "You are root without CAP_SYS_PTRACE: run pystack from a root shell that has it."
    return f"Run pystack as root: sudo {_command(pid)}."


def _container_fix(own: OwnFacts) -> str:
    if own.container == "kubernetes":
        return (
            "This container lacks CAP_SYS_PTRACE, even for root: use `kubectl debug -it POD"
            " --image=IMAGE --target=CONTAINER --profile=general`."
        )
    if own.container in ("docker", "podman"):
        return (
            "This container lacks CAP_SYS_PTRACE, even for root: start it with"
            f" `{own.container} run --cap-add=SYS_PTRACE` (compose: `cap_add: [SYS_PTRACE]`)."
        )
    return (
        "CAP_SYS_PTRACE is not in this shell's bounding set, so sudo does not help: run pystack"
        " outside of this container or sandbox."
    )


def _beyond_privilege(target: ProcessFacts, own: OwnFacts) -> Diagnosis:
    """Why the kernel refuses although the credentials suffice."""
    theirs, ours = target.credentials, own.credentials
    if ours.seccomp == 2:
        fix = "Run pystack outside of this sandbox."
        if own.container in ("docker", "podman"):
            fix = f"Start the container with `{own.container} run --cap-add=SYS_PTRACE`."
        elif own.container == "kubernetes":
            fix = "Give the pod a seccompProfile that allows ptrace and process_vm_readv."
        return Diagnosis("a seccomp filter on this shell forbids it", fix)
    if not own.in_initial_user_namespace and theirs.user_namespace != ours.user_namespace:
        return Diagnosis(
            "it is outside of your user namespace, where you are not root",
            "Run pystack on the host, outside of this namespace or rootless container.",
        )
    for label, who in ((ours.label, "this shell"), (theirs.label, "it")):
        if label is None or label.startswith("unconfined"):
            continue
        if ":" in label and own.selinux_enforcing:
            return Diagnosis(
                f"SELinux refuses it ({who} is labelled {label})",
                "See `ausearch -m avc -ts recent`; often `setsebool deny_ptrace off` is enough.",
            )
        if ":" not in label and theirs.label != ours.label:
            return Diagnosis(
                f"AppArmor refuses it ({who} is confined by the profile {label})",
                "Run pystack unconfined; in a container, use `--security-opt apparmor=unconfined`.",
            )
    return Diagnosis(
        "the kernel refuses, although user, capabilities, Yama, seccomp and security labels"
        " would all allow it",
        "Look for the message of a security module in the kernel log: `dmesg | tail`.",
    )


def _unsupported_hint(target: ProcessFacts, proc: Path) -> str | None:
    if target.state == "Z":
        parent = f"{target.parent}, {process_facts.command_name(target.parent, proc)}"
        return f"Its memory is gone; it remains until its parent ({parent}) reaps it."
    return None


def _not_python_hint(target: ProcessFacts, proc: Path) -> str | None:
    if target.is_kernel_thread:
        return "Look up the pid of the program with `ps -ef`; kernel threads are in brackets there."
    if pythons := process_facts.python_descendants(target.pid, proc):
        several = ", ".join(map(str, pythons[:5]))
        return f"It has started Python processes: try {several}."
    return None


def _is_hidden(pid: int) -> bool:
    """Whether the process exists although /proc does not show it."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def _user(uids: tuple[int, ...]) -> str:
    import pwd

    uid = uids[1] if len(uids) > 1 else -1
    try:
        name = f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (KeyError, OverflowError):
        name = f"uid {uid}"
    return name if len(set(uids[:3])) == 1 else f"{name}, with other saved ids"


def _command(pid: int | None) -> str:
    """The command to run with `sudo`, which does not search the user's PATH."""
    program = Path(sys.argv[0])
    arguments = f"dump {'PID' if pid is None else pid}"
    if program.name == "pystack":
        return f"{program.absolute()} {arguments}"
    return f"{sys.executable} -m pystack {arguments}"
