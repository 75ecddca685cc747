"""numpy in BLAS and the threads of its pool, against gdb on the core of the same moment."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core_files import core_json, gcore, kernel_core, limits, need_gdb
from gdb_stacks import gdb_stacks
from interpreters import NUMPY_MINORS, numpy_folder, required
from marks import each_of
from native_stacks import check_against_gdb, names, search_path, up_to_guess
from process_state import thread_ids, wait_until
from targets import PROGRAMS, Interpreter

pytestmark = pytest.mark.live

BUILDS = ("pyenv", "debian", "debian-sid")
INTERPRETERS = [
    one
    for one in required()
    if one.name in {f"3.{minor}-{build}" for minor in NUMPY_MINORS for build in BUILDS}
]
#: No more than the machine has.
POOL = 2
#: What OpenBLAS is told to take the machine for: kernels in C, which have tables, and such in
#: assembler, which have none.
MACHINES = ("SkylakeX", "Haswell", "Nehalem")


def runs_here(machine: str) -> bool:
    wanted = {"SkylakeX": "avx512dq", "Haswell": "avx2", "Nehalem": "sse4_2"}[machine]
    return wanted in Path("/proc/cpuinfo").read_text().split()


def numpy_for(interpreter: Interpreter, folder: Path) -> Path:
    """Where the target sees it: one with a root of its own sees the test's folder."""
    kept = numpy_folder(interpreter.version[1])
    if not kept.exists():
        pytest.skip(f"no {kept} here (tools/provision_interpreters.py makes it)")
    if interpreter.root is None:
        return kept
    ignored = shutil.ignore_patterns("tests", "*.pyi", "include")
    shutil.copytree(kept, folder / "numpy-for-root", ignore=ignored)
    return folder / "numpy-for-root"


def cpu_ticks(pid: int) -> dict[int, int]:
    """By tid: how long each thread has run."""
    ticks = {}
    for tid in thread_ids(pid):
        fields = Path(f"/proc/{pid}/task/{tid}/stat").read_text().rpartition(")")[2].split()
        ticks[tid] = int(fields[11])
    return ticks


@pytest.mark.parametrize("machine", MACHINES)
@each_of(INTERPRETERS)
def test_the_stacks_of_gdb(interpreter: Interpreter, machine: str, tmp_path: Path) -> None:
    need_gdb()
    if not runs_here(machine):
        machine = "Haswell"  # Tested twice then.
    numpy = numpy_for(interpreter, tmp_path)
    ready = tmp_path / "ready"
    with interpreter.spawn(
        [str(PROGRAMS / "blas.py"), str(numpy), str(ready)],
        stdout=subprocess.DEVNULL,
        preexec_fn=limits,
        env={"OPENBLAS_NUM_THREADS": str(POOL), "OPENBLAS_CORETYPE": machine},
    ) as target:
        wait_until(lambda: ready.exists() or target.process.poll() is not None, "it is ready")
        before = cpu_ticks(target.pid)
        assert len(before) == POOL
        wait_until(
            lambda: all(now > before[tid] + 2 for tid, now in cpu_ticks(target.pid).items()),
            "all threads multiply",
        )
        if interpreter.root is None:
            core = gcore(target.pid, tmp_path)
        else:
            core = kernel_core(target.pid, tmp_path, signal.SIGABRT)
    # Named, because the core has no build IDs of some, and not everyone may read them.
    libraries = sorted({file.parent for file in numpy.rglob("*.so*")})
    document = core_json(
        core, "--native-all", "--lib-search-path", search_path(interpreter, *libraries)
    )
    stacks = gdb_stacks(
        interpreter,
        core,
        tmp_path,
        solib_folders=libraries,
    )
    threads: dict[int, Any] = {thread["tid"]: thread for thread in document["threads"]}
    assert set(threads) == set(stacks)
    for tid, thread in threads.items():
        assert "gap" not in [frame["kind"] for frame in thread["frames"]]
        # What begins with a guess is held against what it must be, below.
        check_against_gdb(*up_to_guess(thread, stacks[tid]))
    [main] = [thread for thread in threads.values() if thread["python_thread_id"] is not None]
    wanted = ["<module>", "builtins.sorted", "key", "multiply"]
    # On its way there or back, the core may have met it outside of the library, as gdb says.
    if any(short(frame.name or "") == "cblas_dgemm" for frame in stacks[main["tid"]]):
        wanted += ["DOUBLE_matmul", "cblas_dgemm"]
    assert [name for name in map(short, names(main)) if name in wanted] == wanted
    [worker] = [thread for thread in threads.values() if thread["python_thread_id"] is None]
    assert worker["stack_end"] == "no_python"
    shown = [name for name in names(worker) if name in ("blas_thread_server", "inner_thread")]
    assert shown[0] == "blas_thread_server"


def short(name: str) -> str:
    """OpenBLAS's names have what its builds add to them."""
    return "cblas_dgemm" if "cblas_dgemm" in name else name
