"""Cores that are cut, damaged or none at all: what can be read, or a sentence and an exit code."""

from __future__ import annotations

import collections
import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pystack
from core_files import (
    NT_FILE,
    PT_NOTE,
    core_json,
    failure_of,
    functions,
    kernel_core,
    limits,
    need_kernel_cores,
    notes,
    program_headers,
    search_options,
    small_core,
)
from damaged_cores import read_damaged
from interpreters import available
from process_state import run_state, wait_until
from pystack.errors import SystemFailure
from targets import Interpreter
from tool_runs import TOOL_FOLDER, run_tool

pytestmark = pytest.mark.live

# For each interpreter.
CUTS = 50
CHANGED = 500


def some_interpreters() -> list[Interpreter]:
    """The oldest, the newest, and two between, all of the host: their files are at hand.

    Without a GIL, a core has a gigabyte of reserved heap.
    """
    found = [one for one in available() if one.root is None and not one.free_threaded]
    indices = sorted({0, len(found) // 3, 2 * len(found) // 3, len(found) - 1})
    return [found[index] for index in indices]


@pytest.fixture(scope="module", params=some_interpreters(), ids=str)
def core(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A core of a few megabytes with two threads."""
    need_kernel_cores()
    path = small_core(request.param, tmp_path_factory.mktemp("core"))
    yield path
    path.unlink()


@pytest.fixture
def changeable(core: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(core, tmp_path / "core.changed"))


def test_cut_anywhere(core: Path, tmp_path: Path) -> None:
    """Nothing that is said of a cut core is wrong, and that it is cut is always said."""
    truth = {
        thread["tid"]: [list(frame.values()) for frame in thread["frames"]]
        for thread in core_json(core)["threads"]
    }
    results = read_damaged(core, tmp_path, "cut", CUTS)
    kinds = collections.Counter(result["error"] for result in results)
    assert set(kinds) <= {None, "CoreTruncated"}
    for result in results:
        if result["error"] is not None:
            continue
        assert result["truncated"]
        assert result["missing_bytes"] > 0
        assert any(str(result["missing_bytes"]) in problem for problem in result["problems"])
        for tid, end, frames in result["threads"]:
            if end == "complete":
                assert frames == truth[tid]


def test_changed_anywhere(core: Path, tmp_path: Path) -> None:
    results = read_damaged(core, tmp_path, "changed", CHANGED)
    kinds = collections.Counter(result["error"] for result in results)
    assert kinds[None] > len(results) / 2
    for result in results:
        if result["error"] is not None:
            assert result["sentence"], result
            assert result["exit_code"] in (1, 3), result


def test_cut_in_the_table_of_offsets(core: Path, changeable: Path) -> None:
    data = core.read_bytes()
    place = data.find(b"xdebugpy")
    minor = int(core_json(core)["version"].split(".")[1])
    assert (place >= 0) is (minor >= 13)
    if place < 0:
        return
    for beyond in (8, 16, 100, 500):
        shutil.copy(core, changeable)
        os.truncate(changeable, place + beyond)
        status, sentence = failure_of(changeable)
        assert status == 1, (beyond, sentence)
        assert "bytes are missing" in sentence, (beyond, sentence)


def test_cut_core_in_words(core: Path, changeable: Path) -> None:
    os.truncate(changeable, core.stat().st_size - 5000)
    document = core_json(changeable)
    assert document["core"]["truncated"]
    assert document["core"]["missing_bytes"] == 5000
    text = run_tool("core", changeable).stdout
    assert "Warning: the core is truncated: 5000 bytes in " in text
    os.truncate(changeable, 200_000)
    status, sentence = failure_of(changeable)
    assert status == 1
    assert "bytes are missing" in sentence
    # What is known is said all the same.
    assert f"process {document['pid']}; SIGABRT: sent by kill()" in sentence


# --- not a core -----------------------------------------------------------------------------------


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert failure_of(path) == (
        *(1, f"{path} is empty: the disk was full or the core size limit was too small"),
    )


def test_folder(tmp_path: Path) -> None:
    assert failure_of(tmp_path) == (1, f"{tmp_path} is a directory, not a core file")


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert failure_of(tmp_path / "pipe") == (1, f"{tmp_path / 'pipe'} is not a regular file")


def test_no_file(tmp_path: Path) -> None:
    status, sentence = failure_of(tmp_path / "none")
    assert status == 1
    assert sentence.endswith(f"{tmp_path / 'none'}: No such file or directory")
    with pytest.raises(SystemFailure) as failure:
        pystack.dump_core(tmp_path / "none")
    assert failure.value.errno == errno.ENOENT


def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\x7fELF" * 100)
    path.chmod(0)
    # Root may read everything, but for the right that is taken away here.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = [
        *(drop if os.geteuid() == 0 else []),
        sys.executable,
        "-m",
        "pystack",
        "core",
        str(path),
    ]
    done = subprocess.run(
        command, cwd=TOOL_FOLDER, check=False, stderr=subprocess.PIPE, encoding="utf-8"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"pystack: cannot open {path}: Permission denied."


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello, world\n" * 100, "is not an ELF core file"),
        (b"#!/bin/sh\nexit\n", "is a script, not a core file"),
        (bytes(4096), "is not an ELF core file"),
        (b"\x7fEL", "is truncated within its ELF header"),
        (b"\x7fELF", "is truncated within its ELF header"),
        (b"\x7fELF" + b"\xff" * 200, "is not a valid ELF file"),
    ],
)
def test_other_data(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert failure_of(path) == (1, f"{path} {words}")


def test_executable_instead_of_a_core() -> None:
    path = Path("/proc/self/exe").resolve()
    status, sentence = failure_of(path)
    assert status == 1
    assert sentence.startswith(f"{path} is an executable")
    assert sentence.endswith(", not a core file")


def test_core_that_is_no_elf_executable_for_exe(core: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/python3\n")
    assert failure_of(core, script) == (2, f"{script} is not an ELF executable")
    status, _ = failure_of(core, tmp_path / "none")
    assert status == 2


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (4, b"\x01", "is from a 32-bit process; only 64-bit cores can be read"),
        (5, b"\x02", "is from a big-endian machine; only little-endian cores can be read"),
        (18, struct.pack("<H", 243), "is from a RISC-V machine; this build reads cores from "),
        (18, struct.pack("<H", 999), "is from an unknown machine (ELF machine 999); "),
        (54, struct.pack("<H", 57), "has program headers of the wrong size"),
    ],
)
def test_foreign_header(changeable: Path, place: int, value: bytes, words: str) -> None:
    with changeable.open("r+b") as file:
        file.seek(place)
        file.write(value)
    status, sentence = failure_of(changeable)
    assert status == 1
    assert sentence.startswith(f"{changeable} {words}")


# --- a core, but ... ------------------------------------------------------------------------------


def test_core_of_another_program(tmp_path: Path) -> None:
    need_kernel_cores()
    with subprocess.Popen(["sleep", "1000"], cwd=tmp_path, preexec_fn=limits) as process:
        wait_until(
            lambda: (
                Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n"
                and run_state(process.pid) == "S"
            ),
            "it sleeps",
        )
        path = kernel_core(process.pid, tmp_path, signal.SIGABRT)
    document = core_without_python(path)
    sentence = document["problems"][0]
    assert sentence.startswith("the core is not from a Python process but from ")
    assert "sleep" in sentence or "coreutils" in sentence
    assert document["core"]["cause"].startswith("SIGABRT")
    (thread,) = document["threads"]
    assert functions(thread)[-1].endswith("nanosleep")


def core_without_python(path: Path) -> dict[str, Any]:
    """What `core --json` says of a core without an interpreter; the text says the same."""
    done = run_tool("core", "--json", path)
    assert done.returncode == 3, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["interpreters"] == []
    assert document["version"] == ""
    text = run_tool("core", path)
    assert text.returncode == 3
    assert f": no Python, {document['command'][0]}" in text.stdout
    assert f"Cause: {document['core']['cause']}" in text.stdout
    assert document["problems"][0] in text.stdout
    return document


#: It aborts when its interpreter has ended.
FINALIZED = (
    "import ctypes; c = ctypes.CDLL(None); c.on_exit(ctypes.cast(c.abort, ctypes.c_void_p), None)"
)


def test_core_of_an_interpreter_that_has_ended(tmp_path: Path) -> None:
    """It was said to be no Python process, and that --exhaustive would help who had given that."""
    need_kernel_cores()
    command = [sys.executable, "-c", FINALIZED]
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=limits) as process:
        path = kernel_core(process.pid, tmp_path)
    document = core_without_python(path)
    sentence = document["problems"][0]
    assert "has no interpreter: it had not started yet, or had ended before" in sentence
    assert document["core"]["cause"].startswith("SIGABRT")
    (thread,) = document["threads"]
    assert {"exit", "abort"} <= set(functions(thread))
    done = run_tool("core", "--exhaustive", path)
    assert done.returncode == 3
    assert "--exhaustive" not in done.stdout + done.stderr


def test_core_without_private_memory(tmp_path: Path) -> None:
    need_kernel_cores()
    program = "import os; open('/proc/self/coredump_filter', 'w').write('0x0'); os.abort()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=limits) as process:
        path = kernel_core(process.pid, tmp_path)
    sentence = core_without_python(path)["problems"][0]
    assert sentence.startswith("the core has no memory that the process wrote to")
    assert "coredump_filter" in sentence
    assert "SIGABRT" in sentence


def test_without_notes(core: Path, changeable: Path) -> None:
    """No threads, no registers, no names of files: there is only memory."""
    data = bytearray(changeable.read_bytes())
    for place, (kind, *_) in program_headers(data):
        if kind == PT_NOTE:
            struct.pack_into("<I", data, place, 0)
    changeable.write_bytes(data)
    done = run_tool("core", changeable, "--json")
    if done.returncode == 0:
        document = json.loads(done.stdout)
        assert document["pid"] == 0
        assert document["core"]["cause"] == "generated on demand"
        expected = [functions(thread) for thread in core_json(core)["threads"]]
        assert [functions(thread) for thread in document["threads"]] == expected
    else:
        # What is left of it is shown all the same.
        assert done.returncode in (1, 3)
        assert json.loads(done.stdout)["core"]["cause"] == "generated on demand"


def test_without_the_list_of_files(core: Path, changeable: Path) -> None:
    """The dynamic linker's own list does as well."""
    data = bytearray(changeable.read_bytes())
    for note_type, content, _ in notes(data):
        if note_type == NT_FILE:
            struct.pack_into("<I", data, content - 12, 0x1234)  # before the name, "CORE"
    changeable.write_bytes(data)
    expected = core_json(core)
    document = core_json(changeable)
    assert [functions(one) for one in document["threads"]] == [
        functions(one) for one in expected["threads"]
    ]
    assert document["version"] == expected["version"]


@pytest.mark.parametrize("interpreter", some_interpreters()[-1:], ids=str)
def test_hostile_names(interpreter: Interpreter, tmp_path: Path) -> None:
    """What stands in a core must not reach a terminal as it is."""
    need_kernel_cores()
    path = small_core(interpreter, tmp_path)
    data = bytearray(path.read_bytes())
    evil = b"\x1b]0;x\x07\r"
    for wanted in (b"script.py", b"sleeper", b"waits", b"sleeps"):
        place = data.find(wanted)
        while place >= 0:
            data[place : place + len(wanted)] = evil[: len(wanted)].ljust(len(wanted), b"\x9b")
            place = data.find(wanted, place + 1)
    path.write_bytes(data)
    done = run_tool("core", path, "--no-color", *search_options(interpreter))
    assert done.returncode == 0
    assert "\\x1b]0;x\\x07\\r" in done.stdout
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert all(line.isprintable() for line in done.stderr.splitlines())
