#!/usr/bin/env python3
"""Reading core files, compared with PyStack and gdb's Python backtrace.

For each interpreter, three processes are killed by os.abort(): a deep stack, numpy with the threads
of its BLAS, and a heap of 4 GiB. Each round runs every tool once, so that all see the same load; the
first round fills the page cache and is not counted. Times are those of the whole command, and of
reading alone: the time in `dump_core` for pystack, and for gdb the time without its start. A tool
that does not show the function that aborted is marked.

    python benchmarks/core_files.py [--rounds 10] [--json FILE] [--heap-gib 4] [INTERPRETER ...]

gdb gets everything that it can use: the plugin for Python backtraces that comes with the interpreter
(python3.X-gdb.py; without it, gdb shows the native backtrace), and the separate debug information of
the interpreters that have it.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import cache_folder, clean_environment, conditions, own_command, own_environment, peer

from interpreters import available
from targets import Interpreter

INTERPRETERS = ["3.11-pyenv", "3.13-pyenv", "3.14-debian-sid", "3.15-debian-sid"]
# It takes seconds where it has debug information.
GDB_ROUNDS = 3
DEPTH = 900
DIES_IN = "dies_here"

PROGRAMS = {
    "deep stack": f"""
import os, sys
sys.setrecursionlimit({DEPTH} + 100)
def dies_here():
    os.abort()
def down(depth):
    return down(depth - 1) if depth else dies_here()
down({DEPTH})
""",
    "numpy": """
import os, threading
import numpy
def dies_here():
    os.abort()
def multiplies(matrix):
    while True:
        matrix = matrix @ matrix
        matrix /= abs(matrix).max()
matrix = numpy.random.rand(2000, 2000)
for _ in range(3):
    threading.Thread(target=multiplies, args=(matrix,), daemon=True).start()
threading.Event().wait(1.5)
dies_here()
""",
    "heap": """
import os
pages = HEAP_BYTES // 4096
def dies_here():
    os.abort()
heap = bytearray(pages * 4096)
heap[::4096] = bytes([7]) * pages
dies_here()
""",
}

# Runs a command and tells its time and memory. It is small itself: a child counts what its parent
# had when it was forked.
RUNNER = """
import json, os, sys, time
begin = time.perf_counter()
pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
taken = time.perf_counter() - begin
cpu = usage.ru_utime + usage.ru_stime
result = [taken, cpu, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]
print(json.dumps(result), file=sys.stderr)
"""

# The reading alone, in a process of its own.
READER = """
import json, sys, time
from pystack import _core
path, root = sys.argv[1], sys.argv[2] or None
begin, cpu = time.perf_counter(), time.process_time()
_core.dump_core(path, library_root=root)
result = [time.perf_counter() - begin, time.process_time() - cpu, 0, 0]
print(json.dumps(result), file=sys.stderr)
"""


@dataclass(frozen=True)
class Sample:
    seconds: float
    cpu_seconds: float
    rss_kib: int
    exit_code: int
    output: str


@dataclass(frozen=True)
class Case:
    interpreter: Interpreter
    core: Path

    @property
    def root(self) -> str:
        return "" if self.interpreter.root is None else str(self.interpreter.root)

    def commands(self) -> dict[str, list[str]]:
        core, executable = str(self.core), str(self.interpreter.host_executable)
        search = ["--lib-search-root", self.root] if self.root else []
        return {
            "pystack": [*own_command(), "core", core, *search],
            "PyStack": [str(peer("pystack-peer")), "core", core, executable, *search],
            "gdb": [*self.gdb(), executable, core, *self.backtrace()],
            "gdb, start": self.gdb(),
        }

    def gdb(self) -> list[str]:
        """Ignores the user's configuration, and uses the files in the root of the process."""
        settings = []
        if self.root:
            settings.append(f"set sysroot {self.root}")
        if self.interpreter.debug_files is not None:
            settings.append(f"set debug-file-directory {self.interpreter.debug_files}")
        return ["gdb", "-nx", "-batch", *(word for one in settings for word in ("-iex", one))]

    def backtrace(self) -> list[str]:
        # Where Python's installation puts its plugin, and where Debian does.
        program = self.interpreter.executable
        loaded = Path(f"{self.root}/usr/share/gdb/auto-load{program}-gdb.py")
        beside = self.interpreter.host_executable.with_name(f"{program.name}-gdb.py")
        for plugin in (beside, loaded):
            if plugin.exists():
                return ["-ex", f"source {plugin}", "-ex", "thread apply all py-bt"]
        return ["-ex", "thread apply all bt"]


def run(arguments: list[str], *, own: bool = False) -> Sample:
    done = subprocess.run(
        arguments,
        cwd=tempfile.gettempdir(),
        env=own_environment() if own else clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    try:
        numbers = json.loads(done.stderr.splitlines()[-1])
    except (IndexError, ValueError):
        raise SystemExit(f"{arguments}: {done.stderr}") from None
    return Sample(*numbers, done.stdout)


def measured(command: list[str], *, own: bool = False) -> Sample:
    return run([sys.executable, "-ISc", RUNNER, *command], own=own)


def measure(case: Case, rounds: int) -> dict[str, dict[str, Any]]:
    samples: dict[str, list[Sample]] = {}
    for number in range(rounds + 1):
        taken = {
            name: measured(command, own=name == "pystack")
            for name, command in case.commands().items()
            if number <= GDB_ROUNDS or not name.startswith("gdb")
        }
        taken["pystack, reading"] = run(
            [sys.executable, "-c", READER, str(case.core), case.root], own=True
        )
        for name, sample in taken.items():
            samples.setdefault(name, []).extend([sample] if number else [])
    rows = {name: summary(taken) for name, taken in samples.items()}
    start = rows.pop("gdb, start")
    rows["gdb, reading"] = {
        key: max(rows["gdb"][key] - start[key], 0.0) for key in ("best ms", "median ms", "CPU ms")
    }
    return rows


def summary(samples: list[Sample]) -> dict[str, Any]:
    times = [sample.seconds * 1e3 for sample in samples]
    return {
        "best ms": min(times),
        "median ms": statistics.median(times),
        "CPU ms": statistics.median(sample.cpu_seconds for sample in samples) * 1e3,
        "max RSS MiB": max(sample.rss_kib for sample in samples) / 1024,
        "failed": any(sample.exit_code != 0 for sample in samples),
        "shows the function": all(DIES_IN in sample.output for sample in samples),
    }


# --- the cores ------------------------------------------------------------------------------------


def make_core(interpreter: Interpreter, code: str, folder: Path) -> Path:
    """The core that the kernel writes into the folder of a dying process."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or pattern.startswith("|"):
        raise SystemExit(
            "the kernel sends cores to another program: set kernel.core_pattern to `core`"
        )
    script = folder / "script.py"
    script.write_text(
        f"import os, sys\nos.chdir({str(folder)!r})\n"
        f"sys.path.insert(0, {str(folder / 'packages')!r})\n{code}"
    )
    with interpreter.spawn([str(script)], stderr=subprocess.PIPE, preexec_fn=unlimited) as target:
        _, errors = target.process.communicate()
        if target.process.returncode != -signal.SIGABRT:
            raise ProgramFailedError(errors.decode(errors="replace").strip().rpartition("\n")[2])
    (core,) = folder.glob(pattern.partition("%")[0] + "*")
    return core


class ProgramFailedError(Exception):
    """The program did not reach its abort()."""


def unlimited() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def add_numpy(interpreter: Interpreter, folder: Path) -> None:
    """Installs numpy for the interpreter at first use, in a place that targets in a root can see."""
    version = f"{interpreter.version[0]}.{interpreter.version[1]}"
    kept = cache_folder() / f"numpy-{version}"
    if not (kept / "numpy").exists():
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--target", str(kept), "--only-binary", ":all:", "--python-version", version),
                *("--implementation", "cp", "--abi", f"cp{version.replace('.', '')}"),
                *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"),
                "numpy",
            ],
            check=True,
            env=clean_environment(),
            capture_output=True,
        )
    (folder / "packages").mkdir()
    shutil.copytree(kept, folder / "packages", dirs_exist_ok=True)


def cases(interpreter: Interpreter, heap_bytes: int) -> Iterator[tuple[str, Case | None, str]]:
    """Yields the name and the core, or why there is no core."""
    for name, code in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                if name == "numpy":
                    add_numpy(interpreter, Path(folder))
                core = make_core(
                    interpreter, code.replace("HEAP_BYTES", str(heap_bytes)), Path(folder)
                )
            except subprocess.CalledProcessError:
                yield name, None, "numpy is not available"
            except ProgramFailedError as error:
                yield name, None, str(error)
            else:
                yield name, Case(interpreter, core), ""


# --- the report -----------------------------------------------------------------------------------


def show(name: str, core: Path, rows: dict[str, dict[str, Any]]) -> None:
    status = core.stat()
    print(f"\n{name}: core of {status.st_size >> 20} MiB, {status.st_blocks >> 11} MiB on disk")
    heads = f"{'best':>11}{'median':>12}{'ratio':>9}{'CPU':>11}{'ratio':>9}{'max RSS':>13}"
    print(f"  {'':18}{heads}")
    for tool in ("pystack", "PyStack", "gdb", "pystack, reading", "gdb, reading"):
        row = rows[tool]
        own = rows["pystack, reading" if tool.endswith("reading") else "pystack"]
        rss = f"{row['max RSS MiB']:7.1f} MiB" if row.get("max RSS MiB") else ""
        remark = ""
        if row.get("failed"):
            remark = "  failed"
        elif tool in ("PyStack", "gdb") and not row["shows the function"]:
            remark = "  no Python stack"
        wall, cpu = (row[key] / own[key] for key in ("median ms", "CPU ms"))
        print(
            f"  {tool:18}{row['best ms']:8.1f} ms{row['median ms']:9.1f} ms{wall:8.1f}x"
            f"{row['CPU ms']:8.1f} ms{cpu:8.1f}x{rss:>13}{remark}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--heap-gib", type=float, default=4.0)
    parser.add_argument("interpreters", nargs="*", default=INTERPRETERS)
    options = parser.parse_args()
    print(f"{options.rounds} rounds; {conditions()}")
    results: dict[str, Any] = {"conditions": conditions()}
    for interpreter in available():
        if interpreter.name not in options.interpreters:
            continue
        for name, case, reason in cases(interpreter, int(options.heap_gib * 2**30)):
            title = f"{interpreter.name}, {name}"
            if case is None:
                print(f"\n{title}: not measured: {reason}")
                continue
            rows = results[title] = measure(case, options.rounds)
            assert not rows["pystack"]["failed"], title
            assert rows["pystack"]["shows the function"], title
            show(title, case.core, rows)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
