import os
from pathlib import Path

from pystack import process_facts


def fake_process(proc: Path, pid: int | str, status: str = "", **files: str) -> Path:
    """A directory of /proc with these files; "__" in a name stands for "/"."""
    directory = proc / str(pid)
    directory.mkdir(parents=True)
    (directory / "status").write_text(status)
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


STATUS = """\
Name:\tpython3
State:\tS (sleeping)
Tgid:\t12
Pid:\t12
PPid:\t3
TracerPid:\t99
Uid:\t1000\t1001\t1002\t1001
Gid:\t100\t100\t100\t100
CapPrm:\t0000000000080000
CapEff:\t0000000000080000
CapBnd:\t000001ffffffffff
NoNewPrivs:\t1
Seccomp:\t2
"""


def test_a_process(tmp_path: Path) -> None:
    directory = fake_process(
        tmp_path,
        12,
        STATUS,
        stat="12 (a ) b) S 3 12 12 0 -1 2097152 0",
        attr__current="docker-default (enforce)\n",
    )
    fake_process(tmp_path, 99, comm="gdb\n")
    (directory / "ns").mkdir()
    (directory / "ns" / "user").symlink_to("user:[42]")
    facts = process_facts.read_process(12, tmp_path)
    assert facts is not None
    assert facts.tracer == (99, "gdb")
    assert (facts.state, facts.process_id, facts.parent) == ("S", 12, 3)
    assert facts.is_kernel_thread
    assert facts.dumpable is (os.getuid() == 1001)
    credentials = facts.credentials
    assert credentials.uids == (1000, 1001, 1002, 1001)
    assert credentials.may_trace_all
    assert credentials.may_gain_ptrace
    assert credentials.no_new_privs
    assert credentials.seccomp == 2
    assert credentials.user_namespace == "user:[42]"
    assert credentials.label == "docker-default (enforce)"


def test_what_is_not_there_is_not_known(tmp_path: Path) -> None:
    assert process_facts.read_process(1, tmp_path) is None
    fake_process(tmp_path, 1)
    facts = process_facts.read_process(1, tmp_path)
    assert facts is not None
    assert facts.tracer is None
    assert facts.dumpable is None
    assert facts.credentials.uids == ()
    assert facts.credentials.label is None
    own = process_facts.read_own(tmp_path, tmp_path)
    assert own.yama_scope is None
    assert own.container is None
    assert own.in_initial_user_namespace


def test_ourselves(tmp_path: Path) -> None:
    fake_process(tmp_path, "self", STATUS, uid_map="0 100000 65536\n", cgroup="0::/\n")
    yama = tmp_path / "sys/kernel/yama"
    yama.mkdir(parents=True)
    (yama / "ptrace_scope").write_text("1\n")
    own = process_facts.read_own(tmp_path, tmp_path)
    assert own.pid == 12
    assert own.yama_scope == 1
    assert not own.in_initial_user_namespace


def test_containers(tmp_path: Path) -> None:
    own = fake_process(tmp_path, "self", STATUS, cgroup="0::/\n")

    def container() -> str | None:
        return process_facts.read_own(tmp_path, tmp_path).container

    assert container() is None
    (own / "cgroup").write_text("0::/system.slice/containerd.service\n")
    assert container() == "unknown"
    (tmp_path / ".dockerenv").touch()
    assert container() == "docker"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".containerenv").touch()
    assert container() == "podman"
    (own / "cgroup").write_text("0::/kubepods/besteffort/x\n")
    assert container() == "kubernetes"


def test_families(tmp_path: Path) -> None:
    fake_process(tmp_path, 5, "PPid:\t4\n", comm="python3.13\n")
    fake_process(tmp_path, 4, "PPid:\t3\n", task__4__children="5 6 ", task__44__children="")
    fake_process(tmp_path, 3, "PPid:\t1\n")
    assert process_facts.children(4, tmp_path) == [5, 6]
    assert process_facts.children(9, tmp_path) == []
    assert process_facts.is_ancestor(3, 5, tmp_path)
    assert process_facts.is_ancestor(1, 5, tmp_path)
    assert not process_facts.is_ancestor(5, 3, tmp_path)
    assert not process_facts.is_ancestor(7, 5, tmp_path)
    assert process_facts.command_name(5, tmp_path) == "python3.13"
    assert process_facts.command_name(6, tmp_path) == "?"


def test_the_real_one() -> None:
    facts = process_facts.read_process(os.getpid())
    assert facts is not None
    assert facts.credentials.uids[0] == os.getuid()
    assert facts.dumpable
    assert not facts.is_kernel_thread
    assert process_facts.read_own().pid == os.getpid()
    assert process_facts.is_ancestor(os.getppid(), os.getpid())
