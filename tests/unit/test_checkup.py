"""`pystack doctor`: what it says of a machine, and how."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pystack import checkup, errors
from pystack.checkup import Checkup, Finding
from pystack.cli.group import cli
from pystack.process_facts import CAP_SYS_PTRACE

STATUS = """Name: python3
Pid: 99
Uid: 1000 1000 1000 1000
Gid: 1000 1000 1000 1000
CapPrm: {caps:x}
CapEff: {caps:x}
CapBnd: ffffffffffffffff
Seccomp: {seccomp}
NoNewPrivs: 0
"""


class Machine:
    """Files of a kernel."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.root = folder / "proc", folder / "root"
        self.write(self.proc / "self/uid_map", "0 0 4294967295")
        self.set_status()

    def set_status(self, *, caps: int = 0, seccomp: int = 0) -> None:
        self.write(self.proc / "self/status", STATUS.format(caps=caps, seccomp=seccomp))

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def finding(self, subject: str) -> Finding | None:
        findings = checkup.check_machine(self.proc, self.root)
        assert len({one.subject for one in findings}) == len(findings)
        return next((one for one in findings if one.subject == subject), None)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("scope", "caps", "level", "words"),
    [
        (None, 0, "note", "of the same user"),
        (0, 0, "note", "of the same user"),
        (1, 0, "note", "its own children"),
        (2, 0, "problem", "no process"),
        (3, 1 << CAP_SYS_PTRACE, "problem", "forbids all tracing"),
        (1, 1 << CAP_SYS_PTRACE, "ok", "of all users"),
    ],
)
def test_permission(machine: Machine, scope: int | None, caps: int, level: str, words: str) -> None:
    machine.set_status(caps=caps)
    if scope is not None:
        machine.write(machine.proc / "sys/kernel/yama/ptrace_scope", f"{scope}\n")
    found = machine.finding("permission")
    assert found is not None
    assert found.level == level
    assert words in found.text
    assert (found.fix is None) == (level == "ok")
    if found.fix is not None and scope != 3:
        assert "sudo" in found.fix
        assert found.fix.endswith("dump PID.")


def test_seccomp_and_container(machine: Machine) -> None:
    assert machine.finding("seccomp") is None
    assert machine.finding("container") is None
    machine.set_status(seccomp=2)
    machine.write(machine.root / ".dockerenv", "")
    assert machine.finding("seccomp") is not None
    found = machine.finding("container")
    assert found is not None
    assert "docker" in found.text


def test_a_slow_clock(machine: Machine) -> None:
    folder = machine.root / "sys/devices/system/clocksource/clocksource0"
    assert machine.finding("clock") is None
    machine.write(folder / "current_clocksource", "tsc\n")
    assert machine.finding("clock") is None
    machine.write(folder / "current_clocksource", "hpet\n")
    machine.write(folder / "available_clocksource", "tsc hpet acpi_pm \n")
    found = machine.finding("clock")
    assert found is not None
    assert "hpet" in found.text
    assert found.fix is not None
    assert found.fix.startswith("Run `echo tsc | sudo tee ")
    machine.write(folder / "available_clocksource", "hpet acpi_pm \n")
    found = machine.finding("clock")
    assert found is not None
    assert found.fix is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("core.%p", "written to core.%p, in the current directory"),
        ("/var/cores/%e.%p", "written to /var/cores/%e.%p"),
        ("|/usr/lib/systemd/systemd-coredump %P %u", "given to /usr/lib/systemd/systemd-coredump"),
    ],
)
def test_core_pattern(machine: Machine, pattern: str, words: str) -> None:
    machine.write(machine.proc / "sys/kernel/core_pattern", pattern + "\n")
    found = machine.finding("core pattern")
    assert found is not None
    assert words in found.text
    assert ("coredumpctl" in (found.fix or "")) == ("systemd" in pattern)


def test_debug_files(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)
    found = machine.finding("debug files")
    assert found is not None
    assert found.level == "note"
    (machine.root / "usr/lib/debug/.build-id").mkdir(parents=True)
    found = machine.finding("debug files")
    assert found is not None
    assert found.level == "ok"
    monkeypatch.setenv("DEBUGINFOD_URLS", "https://debug.example https://other.example")
    found = machine.finding("debug files")
    assert found is not None
    assert "https://debug.example" in found.text


def test_a_process_that_is_not_there() -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(2**22 - 1, 0)
    found = checkup.check_process(2**22 - 1)
    assert found.exit_code == errors.NoSuchProcess.exit_code
    assert [one.subject for one in found.findings] == ["dump", "dump --no-block"]


def test_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = Checkup(1, (Finding("dump", "ok", "1 thread"), Finding("other", "ok", "1 thread")), 0)
    problem = Finding("dump", "problem", "no \x1b[31mpermission", "Try block=False.")
    refused = Checkup(2, (problem, problem._replace(subject="dump --no-block")), 4)
    monkeypatch.setattr(checkup, "check_machine", lambda: (Finding("system", "ok", "Linux"),))
    monkeypatch.setattr(checkup, "check_process", {1: fine, 2: refused}.__getitem__)
    done = CliRunner().invoke(cli, ["doctor", "1", "2"])
    assert done.exit_code == 4
    assert done.output.splitlines() == [
        "This machine",
        "  ok       system  Linux",
        "",
        "Process 1",
        "  ok       dump   1 thread",
        "  ok       other  1 thread",
        "",
        "Process 2",
        "  problem  dump             no \\x1b[31mpermission",
        "                            Try --no-block.",
        "  problem  dump --no-block  the same",
    ]
    assert CliRunner().invoke(cli, ["doctor", "1"]).exit_code == 0
    done = CliRunner().invoke(cli, ["doctor", "--json", "2"])
    assert done.exit_code == 4
    document = json.loads(done.output)
    assert document["schema_version"] == 1
    assert document["machine"] == [
        {"subject": "system", "level": "ok", "text": "Linux", "fix": None}
    ]
    [process] = document["processes"]
    assert process["exit_code"] == 4
    assert [one["fix"] for one in process["findings"]] == ["Try --no-block."] * 2
