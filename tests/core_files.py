"""Core files for tests: made by the kernel or by gdb, and read by the tool under test."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from process_state import wait_until
from targets import PROGRAMS, Interpreter, Target
from tool_runs import run_tool
from truthful_target import TruthfulTarget, is_at_barrier, wait_for_truth

MAKE_TIMEOUT_S = 90.0
# Some programs have hundreds of threads, and gdb writes all memory that is theirs, used or not.
STACK_BYTES = 1 << 20
SMALL = {"MALLOC_ARENA_MAX": "1"}

# The kernel writes a core into the working folder, which is `/` in a root of its own: the program
# goes to the folder of its first argument.
RUN_IN_FOLDER = """
import os, runpy, sys
del sys.argv[0]
os.chdir(os.path.dirname(sys.argv[1]))
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""

Bytes = bytes | bytearray | mmap.mmap

PT_LOAD, PT_NOTE = 1, 4
NT_FILE = 0x46494C45
_PROGRAM_HEADER = "<IIQQQQQQ"
_PHOFF, _PHNUM = 0x20, 0x38
_PAGE = 4096


# --- making ---------------------------------------------------------------------------------------


def core_pattern() -> str | None:
    """What the kernel calls the cores that it writes into working folders; None if elsewhere."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if not pattern or "/" in pattern or pattern.startswith("|"):
        return None
    return pattern.partition("%")[0] + "*"


def need_kernel_cores() -> None:
    if core_pattern() is None:
        pytest.skip("the kernel of this machine gives its cores to somebody else (core_pattern)")


def need_gdb() -> None:
    if shutil.which("gcore") is None:
        pytest.skip("there is no gcore, which comes with gdb")


def limits() -> None:
    """In the child that becomes the target: cores of any size, and small stacks of threads."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))


@contextlib.contextmanager
def mortal_target(
    interpreter: Interpreter,
    program: str,
    folder: Path,
    *,
    arguments: Sequence[str] = (),
    container: bool = False,
) -> Iterator[TruthfulTarget]:
    """A program of `programs/` at its barrier, working in `folder`, where its core will be."""
    path = folder / "truth.json"
    errors = folder / "stderr.txt"
    with (
        errors.open("wb") as stderr,
        interpreter.spawn(
            ["-c", RUN_IN_FOLDER, str(PROGRAMS / program), str(path), *arguments],
            container=container,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=SMALL,
            preexec_fn=limits,
        ) as target,
    ):
        truth = wait_for_truth(target.process, path, errors)
        pid = target.pid if container else truth["pid"]
        wait_until(lambda: is_at_barrier(pid, truth), f"{program} at its barrier")
        yield TruthfulTarget(pid, truth)


@contextlib.contextmanager
def script_target(
    interpreter: Interpreter, code: str, folder: Path, *, arguments: Sequence[str] = ()
) -> Iterator[Target]:
    """A script of its own in `folder`, where its core will be."""
    script = folder / "script.py"
    # It waits to be told, or what dies at once is dead before its pid is known.
    script.write_text(f"import os\nos.read(0, 1); os.chdir({str(folder)!r})\n{code}")
    with interpreter.spawn(
        [str(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=SMALL,
        preexec_fn=limits,
    ) as target:
        assert target.process.stdin is not None
        target.process.stdin.write(b"x")
        target.process.stdin.flush()
        yield target


def is_dead(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def kernel_core(pid: int, folder: Path, number: int | None = None) -> Path:
    """The core of a process that dies in `folder`, by the signal that is given or by itself."""
    if number is not None:
        os.kill(pid, number)
    # The kernel ends a process after the last byte of its core.
    wait_until(lambda: is_dead(pid), f"process {pid} dies", MAKE_TIMEOUT_S)
    found = list(folder.glob(core_pattern() or ""))
    assert len(found) == 1, f"cores of process {pid}: {found}"
    return found[0]


def gcore(pid: int, folder: Path) -> Path:
    """A core of a living process, which goes on after it."""
    done = subprocess.run(
        ["gcore", "-o", str(folder / "gcore"), str(pid)],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=MAKE_TIMEOUT_S,
    )
    path = folder / f"gcore.{pid}"
    assert path.exists(), done.stdout
    return path


def small_core(interpreter: Interpreter, folder: Path) -> Path:
    """The kernel's core of two threads that sleep, a few megabytes."""
    code = """
import signal, threading, time

def sleeps(seconds):
    time.sleep(seconds)

threading.Thread(target=sleeps, args=(1000,), name="sleeper", daemon=True).start()

def waits(path):
    open(path, "w").close()
    sleeps(1000)

waits("ready")
"""
    with script_target(interpreter, code, folder) as target:
        wait_until((folder / "ready").exists, "the script is ready")
        return kernel_core(target.pid, folder, signal.SIGABRT)


def search_options(interpreter: Interpreter) -> list[str]:
    """What the tool needs to find the files of a process that had a root of its own.

    Also those of numpy: wheels move their build IDs to where no core has them, and without one a
    file has to be named if not everyone may read it. `musl-gcc` makes files without one.
    """
    if interpreter.root is not None:
        return ["--lib-search-root", str(interpreter.root)]
    prefix = interpreter.executable.parent.parent
    packages = prefix.glob("lib/python3*/site-packages")
    files = [file for folder in packages for file in folder.glob("numpy*/**/*.so*")]
    if interpreter.musl:
        files += [interpreter.executable, *prefix.glob("lib/**/*.so*")]
    folders = sorted({str(file.parent) for file in files})
    return ["--lib-search-path", ":".join(folders)] if folders else []


# --- reading --------------------------------------------------------------------------------------


def core_json(path: Path, *arguments: object, **options: Any) -> dict[str, Any]:
    """What `core --json` says, which must work."""
    done = run_tool("core", "--json", path, *arguments, **options)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def failure_of(path: Path, *arguments: object) -> tuple[int, str]:
    """Status and sentence of a reading that must fail, with one sentence and perhaps a hint."""
    done = run_tool("core", path, *arguments)
    assert done.returncode != 0, done.stdout
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 2, done.stderr
    assert all(line.endswith(".") for line in lines), done.stderr
    sentence = re.fullmatch(r"pystack: (.+)\.", lines[0])
    assert sentence is not None, done.stderr
    return done.returncode, sentence[1]


def functions(thread: dict[str, Any]) -> list[str]:
    return [frame["function"] for frame in thread["frames"]]


# --- changing -------------------------------------------------------------------------------------


def program_headers(data: Bytes) -> Iterator[tuple[int, list[int]]]:
    """Where each stands, and its fields: type, flags, offset, addresses, sizes, alignment."""
    (begin,) = struct.unpack_from("<Q", data, _PHOFF)
    (count,) = struct.unpack_from("<H", data, _PHNUM)
    for index in range(count):
        place = begin + index * struct.calcsize(_PROGRAM_HEADER)
        yield place, list(struct.unpack_from(_PROGRAM_HEADER, data, place))


def notes(data: Bytes) -> Iterator[tuple[int, int, int]]:
    """Type, begin and size of the content of each note."""
    for _, (kind, _, offset, _, _, size, _, _) in program_headers(data):
        if kind != PT_NOTE:
            continue
        place = offset
        while place < offset + size:
            name_size, content_size, note_type = struct.unpack_from("<III", data, place)
            content = place + 12 + (name_size + 3 & ~3)
            yield note_type, content, content_size
            place = content + (content_size + 3 & ~3)


def mapped_paths(data: Bytes) -> list[tuple[int, str]]:
    """The files in the core's NT_FILE note: where their names stand, and these."""
    for note_type, content, size in notes(data):
        if note_type != NT_FILE:
            continue
        (count,) = struct.unpack_from("<Q", data, content)
        place = content + 16 + count * 24
        paths = []
        for raw in bytes(data[place : content + size]).split(b"\0")[:count]:
            paths.append((place, os.fsdecode(raw)))
            place += len(raw) + 1
        return paths
    return []


def hide_paths(path: Path) -> None:
    """Renames the files that a core names, to such as are nowhere (`hidden`)."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        for place, name in mapped_paths(data):
            data[place : place + len(os.fsencode(name))] = os.fsencode(hidden(name))


def hidden(path: str) -> str:
    """As long as before."""
    return f"/#{path[2:]}"
