import os
from pathlib import Path
from typing import Any

import pytest

from pystack import diagnosis, errors
from pystack.process_facts import CAP_SYS_PTRACE, Credentials, OwnFacts, ProcessFacts

ALL_CAPS = (1 << 41) - 1
NO_PTRACE = ALL_CAPS & ~(1 << CAP_SYS_PTRACE)

USER = Credentials(
    uids=(1000, 1000, 1000, 1000),
    gids=(1000, 1000, 1000, 1000),
    permitted_caps=0,
    effective_caps=0,
    bounding_caps=ALL_CAPS,
    seccomp=0,
    no_new_privs=False,
    user_namespace="user:[1]",
    label=None,
)
ROOT = USER._replace(
    uids=(0, 0, 0, 0), gids=(0, 0, 0, 0), permitted_caps=ALL_CAPS, effective_caps=ALL_CAPS
)
TARGET = ProcessFacts(
    pid=4711,
    command_name="python3",
    state="S",
    process_id=4711,
    parent=1,
    tracer=None,
    is_kernel_thread=False,
    dumpable=True,
    credentials=USER,
)
OWN = OwnFacts(
    pid=99,
    credentials=USER,
    yama_scope=None,
    selinux_enforcing=False,
    in_initial_user_namespace=True,
    container=None,
)


def diagnose(target: ProcessFacts = TARGET, own: OwnFacts = OWN, **options: Any) -> tuple[str, str]:
    return diagnosis.diagnose_permission(target, own, stop=options.pop("stop", True), **options)


def own_as(credentials: Credentials, **fields: Any) -> OwnFacts:
    return OWN._replace(credentials=credentials, **fields)


def target_as(**fields: Any) -> ProcessFacts:
    return TARGET._replace(credentials=USER._replace(**fields))


def test_traced_already() -> None:
    traced = TARGET._replace(tracer=(12, "gdb"))
    cause, fix = diagnose(traced, own_as(ROOT))
    assert cause == "it is already traced by gdb (pid 12)"
    assert "block=False" in fix
    # Reading without stopping is not in the tracer's way: the cause is another.
    assert "gdb" not in diagnose(traced, own_as(ROOT), stop=False)[0]


def test_another_user() -> None:
    cause, fix = diagnose(target_as(uids=(99999, 99999, 99999, 99999)))
    assert cause.startswith("it runs as uid 99999 and you are ")
    assert fix.startswith("Run pystack as root: sudo /")
    assert fix.endswith(" dump 4711.")


def test_another_group() -> None:
    assert diagnose(target_as(gids=(5, 5, 5, 5)))[0] == (
        "it runs in group 5 and you are in group 1000"
    )


def test_saved_ids_count() -> None:
    cause, _ = diagnose(target_as(uids=(1000, 1000, 0, 1000)))
    assert "with other saved ids" in cause


def test_undumpable() -> None:
    assert "protected from its own user" in diagnose(TARGET._replace(dumpable=False))[0]


def test_more_capable() -> None:
    assert (
        diagnose(target_as(permitted_caps=1 << 10))[0] == "it has capabilities that you do not have"
    )


def test_another_user_namespace() -> None:
    assert diagnose(target_as(user_namespace="user:[2]"))[0] == (
        "it runs in another user namespace"
    )


@pytest.mark.parametrize(
    ("scope", "words"),
    [(1, "only its ancestor processes"), (2, "only administrators"), (3, "forbids all tracing")],
)
def test_yama(scope: int, words: str) -> None:
    cause, _ = diagnose(own=OWN._replace(yama_scope=scope))
    assert words in cause
    assert f"kernel.yama.ptrace_scope is {scope}" in cause


def test_yama_leaves_descendants_and_the_capable_alone() -> None:
    own = OWN._replace(yama_scope=1)
    assert "yama.ptrace_scope" not in diagnose(own=own, is_descendant=True)[0]
    assert "yama.ptrace_scope" not in diagnose(own=own_as(ROOT, yama_scope=2))[0]
    assert "yama.ptrace_scope" in diagnose(own=own_as(ROOT, yama_scope=3))[0]


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ("docker", "docker run --cap-add=SYS_PTRACE"),
        ("podman", "podman run --cap-add=SYS_PTRACE"),
        ("kubernetes", "kubectl debug"),
        ("unknown", "outside of this container"),
        (None, "outside of this container"),
    ],
)
def test_sudo_is_not_proposed_where_it_cannot_help(container: Any, words: str) -> None:
    credentials = USER._replace(bounding_caps=NO_PTRACE)
    _, fix = diagnose(own=own_as(credentials, yama_scope=1, container=container))
    assert words in fix
    assert "sudo /" not in fix


def test_no_new_privs_and_root_without_the_capability() -> None:
    _, fix = diagnose(own=own_as(USER._replace(no_new_privs=True), yama_scope=1))
    assert "no_new_privs" in fix
    poor_root = ROOT._replace(effective_caps=NO_PTRACE)
    _, fix = diagnose(own=own_as(poor_root))
    assert "root without CAP_SYS_PTRACE" in fix


def test_seccomp() -> None:
    own = own_as(ROOT._replace(seccomp=2), container="docker")
    cause, fix = diagnose(own=own)
    assert "seccomp" in cause
    assert "--cap-add=SYS_PTRACE" in fix
    assert "sandbox" in diagnose(own=own._replace(container=None))[1]
    assert "seccompProfile" in diagnose(own=own._replace(container="kubernetes"))[1]


def test_root_of_another_user_namespace() -> None:
    own = own_as(ROOT, in_initial_user_namespace=False)
    cause, _ = diagnose(target_as(user_namespace=None), own)
    assert "outside of your user namespace" in cause


def test_security_labels() -> None:
    confined = own_as(ROOT._replace(label="docker-default (enforce)"))
    assert "this shell is confined by the profile docker-default" in diagnose(own=confined)[0]
    target = target_as(label="snap.app")
    assert "it is confined by the profile snap.app" in diagnose(target, own_as(ROOT))[0]
    assert "unconfined" not in diagnose(target_as(label="unconfined"), own_as(ROOT))[0]
    context = "system_u:system_r:container_t:s0"
    enforcing = own_as(ROOT, selinux_enforcing=True)
    assert f"labelled {context}" in diagnose(target_as(label=context), enforcing)[0]


def test_the_rest_is_said_to_be_unknown() -> None:
    cause, fix = diagnose(own=own_as(ROOT))
    assert "would all allow it" in cause
    assert "dmesg" in fix


def test_ourselves() -> None:
    cause, fix = diagnose(TARGET._replace(pid=99))
    assert cause == "a process cannot stop itself"
    assert "block=False" in fix


def fake_process(proc: Path, pid: int, status: str, **files: str) -> None:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "status").write_text(status)
    for name, text in files.items():
        (directory / name).write_text(text)


def explain(error: errors.TargetError, proc: Path, pid: int = 4711) -> errors.TargetError:
    return diagnosis.explain(error, pid, stop=True, proc=proc, root=proc)


def test_explain_permission(tmp_path: Path) -> None:
    uid = os.getuid() + 1
    ids = f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t5\t5\t5\t5\n"
    fake_process(tmp_path, 4711, f"{ids}TracerPid:\t12\n")
    fake_process(tmp_path, 12, "", comm="strace\n")
    error = explain(errors.PermissionDenied("ptrace: Operation not permitted"), tmp_path)
    assert isinstance(error, errors.PermissionDenied)
    assert str(error) == (
        "no permission to read process 4711: it is already traced by strace (pid 12)"
    )
    assert (error.exit_code, error.pid) == (4, 4711)


def test_explain_a_process_that_has_gone(tmp_path: Path) -> None:
    error = explain(errors.PermissionDenied("x"), tmp_path)
    assert isinstance(error, errors.TargetExited)


def test_explain_zombies_and_kernel_threads(tmp_path: Path) -> None:
    fake_process(tmp_path, 4711, "State:\tZ (zombie)\nPPid:\t12\n")
    fake_process(tmp_path, 12, "", comm="bash\n")
    error = explain(errors.UnsupportedTarget("process 4711 is a zombie"), tmp_path)
    assert "its parent (12, bash)" in (error.hint or "")
    fake_process(tmp_path, 2, "State:\tS\n", stat="2 (kthreadd) S 0 0 0 0 -1 2129984 0")
    error = explain(errors.NotPython("kernel thread"), tmp_path, 2)
    assert "kernel threads" in (error.hint or "")
    fake_process(tmp_path, 3, "State:\tS\n", stat="3 (a.out) S 0 0 0 0 -1 4194304 0")
    assert explain(errors.UnsupportedTarget("32-bit"), tmp_path, 3).hint is None


def test_explain_threads_and_wrappers(tmp_path: Path) -> None:
    fake_process(tmp_path, 4711, "Tgid:\t4700\n")
    error = explain(errors.NoSuchProcess("x"), tmp_path)
    assert error.hint == "4711 is a thread of process 4700: use that number."
    (tmp_path / "4711" / "task" / "4711").mkdir(parents=True)
    (tmp_path / "4711" / "task" / "4711" / "children").write_text("4712 4713 ")
    fake_process(tmp_path, 4712, "", comm="sh\n")
    fake_process(tmp_path, 4713, "", comm="python3.11\n")
    error = explain(errors.NotPython("x"), tmp_path)
    assert error.hint == "It has started Python processes: try 4713."
    (tmp_path / "4712" / "task" / "4712").mkdir(parents=True)
    (tmp_path / "4712" / "task" / "4712" / "children").write_text("4714 4711")
    fake_process(tmp_path, 4714, "", comm="shop: worker\n")
    (tmp_path / "4714" / "exe").symlink_to("/usr/bin/python3.13")
    error = explain(errors.NotPython("x"), tmp_path)
    assert error.hint == "It has started Python processes: try 4713, 4714."


def test_explain_hidden_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    assert type(explain(errors.NoSuchProcess("x"), tmp_path, 2**22 + 1)) is errors.NoSuchProcess
    monkeypatch.setattr(os, "kill", refuse)
    error = explain(errors.NoSuchProcess("x"), tmp_path)
    assert isinstance(error, errors.PermissionDenied)
    assert "hidepid" in str(error)


def test_the_command_to_type_has_its_full_path(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OWN._replace(yama_scope=1)
    monkeypatch.setattr("sys.argv", ["/opt/tools/pystack", "dump", "4711"])
    assert diagnose(own=own)[1] == "Run pystack as root: sudo /opt/tools/pystack dump 4711."
    monkeypatch.setattr("sys.argv", ["/x/pystack/__main__.py"])
    assert diagnose(own=own)[1].endswith(" -m pystack dump 4711.")
