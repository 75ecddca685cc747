"""How a target interpreter is started. Which of them there are is told by `interpreters.py`.

There are three ways, from easy to hard for a tool that looks from outside:

  host        an interpreter of the host, started directly.
  chroot      an interpreter of the `sid` root. Paths in the target's maps are those of the host
              (`<cache>/sid/usr/bin/python3.13`), but its own root (`/proc/PID/root`) begins
              further down, so the two must not be joined.
  container   the same root made the target's real root (pivot_root), in a pid namespace, where it
              is process 1. Paths in its maps are those inside (`/usr/bin/python3.13`); a file of
              that name on the host, if there is one, is another file.

Chroot and container need root's rights. Both happen in a mount namespace that lives as long as
the target, so nothing stays mounted. Inside, these folders of the host have the same path:
`tests/programs` of this checkout, and the temporary folder (thus also pytest's `tmp_path`) for
the files, sockets and pipes by which test and target meet. The working folder is `/`. Open file
descriptors pass through as usual. Process 1 of a pid namespace gets no SIGTERM or SIGINT that it
does not handle, nor its own SIGKILL; SIGKILL from outside works.

The interpreters of the root are stripped and have no debug files, like most in production;
`debug_files=True` mounts Debian's at `/usr/lib/debug` of that one target. The debug builds carry
symbols and DWARF themselves.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = Path(__file__).resolve().parent / "programs"

# How long a target may take to become the interpreter. It needs 20 ms, but CI machines have load.
START_TIMEOUT_S = 30.0

# Arguments: root, "chroot" or "pivot", pairs of folders (on the host, inside), "--", the command.
# The shell becomes the command without a fork, so its pid is that of the interpreter.
ENTER_ROOT = """
set -e
root=$1 way=$2
shift 2
if [ "$way" = pivot ]; then mount --bind "$root" "$root"; fi
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o ptmxmode=0666 devpts "$root/dev/pts"
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done
shift
cd "$root"
if [ "$way" = chroot ]; then exec chroot . "$@"; fi
mkdir -p .host
pivot_root . .host
umount --lazy /.host
exec "$@"
"""


class TargetDiedError(Exception):
    """The process ended before it became the interpreter."""


@dataclass(frozen=True)
class Interpreter:
    """One way to run CPython.

    `executable` is a path as the target sees it, below `root` or, where that is None, the host's
    root. `musl`: it uses this C library. `stripped`: neither the executable nor its libpython
    has a `.symtab`. `debug_files`: the folder of separate debug files on the host, where there
    are such.
    """

    name: str
    version: tuple[int, int, int]
    executable: Path
    root: Path | None = None
    free_threaded: bool = False
    debug: bool = False
    jit: bool = False
    musl: bool = False
    stripped: bool = False
    debug_files: Path | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def container(self) -> bool:
        """Whether `container=True` gives it a root of its own; for others it is only pids."""
        return self.root is not None

    @property
    def host_executable(self) -> Path:
        """The executable's file as the host sees it."""
        return self.on_host(self.executable)

    def on_host(self, path: Path) -> Path:
        """Where the host sees what is `path` to the target."""
        return path if self.root is None else self.root / path.relative_to("/")

    def command(
        self, *arguments: str, container: bool = False, debug_files: bool = False
    ) -> list[str]:
        """What to run. Without `container` the process started becomes the interpreter itself."""
        interpreter = [str(self.executable), *arguments]
        settings = ["PYTHON_JIT=1"] if self.jit else []
        namespaces = ["--pid", "--fork", "--kill-child"] if container else []
        if debug_files and self.debug_files is None:
            raise ValueError(f"{self.name} has no separate debug files")
        if self.root is None:
            own_pids = ["unshare", "--mount", *namespaces, "--mount-proc"] if container else []
            return [*own_pids, *(["env", *settings] if settings else []), *interpreter]

        shared = [(folder, folder) for folder in (PROGRAMS, Path(tempfile.gettempdir()))]
        if debug_files and self.debug_files is not None:
            shared.append((self.debug_files, Path("/usr/lib/debug")))
        way = "pivot" if container else "chroot"
        return [
            *("unshare", "--mount", *namespaces),
            *("sh", "-c", ENTER_ROOT, "enter-root", str(self.root), way),
            *(str(folder) for pair in shared for folder in pair),
            "--",
            *("env", "PATH=/usr/local/bin:/usr/bin:/bin", *settings),
            *interpreter,
        ]

    def spawn(
        self,
        arguments: Sequence[str],
        *,
        container: bool = False,
        debug_files: bool = False,
        env: Mapping[str, str] | None = None,
        **popen: Any,
    ) -> Target:
        """Start it and return once it is the interpreter, which may not have run any Python yet.

        The environment is that of the test run without what would change the target, and with
        `env` on top. `popen` goes to `subprocess.Popen`.
        """
        command = self.command(*arguments, container=container, debug_files=debug_files)
        process = subprocess.Popen(command, env={**target_environment(), **(env or {})}, **popen)
        try:
            pid = wait_for_interpreter(process, self.host_executable, forks=container)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return Target(self, process, pid)


@dataclass(frozen=True)
class Target:
    """A started interpreter; as a context manager it is killed and its pipes closed at the end."""

    interpreter: Interpreter
    process: subprocess.Popen[Any]
    """The interpreter, or for a container the `unshare` above it, which passes on its status."""
    pid: int
    """The interpreter's pid as the host counts."""

    def kill(self) -> None:
        # Not the parent of a container: it is to reap the interpreter, else a zombie is left to
        # init. (The `unshare` of util-linux before 2.39 has words on stderr about SIGKILL then.)
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Target:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def target_environment() -> dict[str, str]:
    """The test run's environment without settings of its Python; no `__pycache__` is written."""
    foreign = re.compile("PYTHON|COVERAGE|COV_CORE|VIRTUAL_ENV|LD_PRELOAD")
    kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def wait_for_interpreter(process: subprocess.Popen[Any], executable: Path, *, forks: bool) -> int:
    """The pid that runs `executable`, be it `process` or its only child.

    Files are compared, not paths, because these depend on whose root they are seen from.
    """
    wanted = executable.stat()
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        for pid in child_pids(process.pid) if forks else [process.pid]:
            try:
                running = Path(f"/proc/{pid}/exe").stat()
            except OSError:  # it ended, reaped or not
                continue
            if os.path.samestat(running, wanted):
                return pid
        if process.poll() is not None:
            status = process.returncode
            # A target as short as `-c pass` can be over before the first look.
            if not forks and status == 0:
                return process.pid
            raise TargetDiedError(f"status {status}, never seen as {executable}: {process.args!r}")
        time.sleep(0.001)
    raise TimeoutError(f"not {executable} within {START_TIMEOUT_S} s: {process.args!r}")


def child_pids(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:  # it ended
        return []
    return [int(child) for child in children.split()]
