"""The interpreter is found, and the right one, however it got into the process."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreters import FULL_MATRIX_VARIABLE, required
from marks import each_of
from targets import PROGRAMS, Interpreter
from tool_runs import dump_json, run_tool
from truth_compare import differences
from truthful_target import TruthfulTarget, truthful_process, truthful_target

pytestmark = pytest.mark.live

# With the JIT it is the same file.
DIFFERENT_FILES = [one for one in required() if not one.jit]
EVERY = each_of(DIFFERENT_FILES)


def libpython(interpreter: Interpreter) -> Path | None:
    """The shared library of an interpreter of the host; None if it is linked statically."""
    if interpreter.root is not None:
        return None
    needed = subprocess.run(
        ["readelf", "-d", interpreter.executable], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    name = re.search(r"NEEDED.*\[(libpython.*)\]", needed)
    return None if name is None else interpreter.executable.parent.parent / "lib" / name[1]


SHARED = each_of(one for one in DIFFERENT_FILES if libpython(one) is not None)


class Installation:
    """A copy of an interpreter's files in a folder of its own, under other names where that works.

    The library keeps its name, by which it is looked for. Modules come from the original's place.
    """

    def __init__(self, interpreter: Interpreter, folder: Path) -> None:
        self.interpreter = interpreter
        self.folder = folder
        self.executable = folder / "worker process (1)"
        shutil.copy(interpreter.host_executable, self.executable)
        self.files = [self.executable]
        self.library: Path | None = None
        library = libpython(interpreter)
        if library is not None:
            self.library = folder / library.name
            shutil.copy(library, self.library)
            self.files.append(self.library)
        for file in self.files:
            file.chmod(0o755)

    def command(self, *arguments: object) -> list[str]:
        moved = dataclasses.replace(self.interpreter, executable=self.executable)
        truth = self.folder / "truth.json"
        return moved.command(str(PROGRAMS / "small.py"), str(truth), *map(str, arguments))

    @property
    def env(self) -> dict[str, str]:
        return {
            "PYTHONHOME": str(self.interpreter.executable.parent.parent),
            "LD_LIBRARY_PATH": str(self.folder),
        }

    def started(self, *arguments: object) -> contextlib.AbstractContextManager[TruthfulTarget]:
        return truthful_process(self.command(*arguments), self.folder, self.env)


def check(target: TruthfulTarget, *options: str) -> None:
    """The dump is the truth, stopped and not."""
    for way in ([], ["--no-block"]):
        target.wait_for_barrier()
        found = differences(target.truth, dump_json(target.pid, *way, *options))
        assert not found, "\n".join(found[:20])


def strip(file: Path) -> None:
    subprocess.run(["strip", "--strip-all", file], check=True, stderr=subprocess.PIPE)


def drop_section_headers(file: Path) -> None:
    """What `sstrip` and packers leave: only what the loader needs."""
    with file.open("r+b") as elf:
        elf.seek(0x28)  # e_shoff
        elf.write(struct.pack("<Q", 0))
        elf.seek(0x3A)  # e_shentsize, e_shnum, e_shstrndx
        elf.write(struct.pack("<HHH", 0, 0, 0))


def strip_and_drop_section_headers(file: Path) -> None:
    strip(file)
    drop_section_headers(file)


def delete(file: Path) -> None:
    file.unlink()


def replace_by_another(file: Path) -> None:
    """As an upgrade does it: another file under the name, the old one goes on without a name."""
    other = file.with_name("new")
    content = file.read_bytes()
    # ELF, of the same size, and nothing of it where it was.
    other.write_bytes(content[:0x40] + content[0x1040:] + content[0x40:0x1040])
    other.rename(file)


def replace_by_text(file: Path) -> None:
    other = file.with_name("new")
    other.write_text('#!/bin/sh\nexec python3 "$@"\n')
    other.rename(file)


@EVERY
def test_renamed(interpreter: Interpreter, tmp_path: Path) -> None:
    with Installation(interpreter, tmp_path).started() as target:
        check(target)


@pytest.mark.parametrize("change", [delete, replace_by_another, replace_by_text])
@EVERY
def test_files_changed_while_it_runs(
    interpreter: Interpreter, change: Callable[[Path], None], tmp_path: Path
) -> None:
    installation = Installation(interpreter, tmp_path)
    with installation.started() as target:
        for file in installation.files:
            change(file)
        check(target)


@pytest.mark.parametrize("change", [strip, drop_section_headers, strip_and_drop_section_headers])
@EVERY
def test_files_without_symbols(
    interpreter: Interpreter, change: Callable[[Path], None], tmp_path: Path
) -> None:
    if shutil.which("strip") is None:
        missing("no strip")
    installation = Installation(interpreter, tmp_path)
    for file in installation.files:
        change(file)
    with installation.started() as target:
        check(target)


@pytest.mark.parametrize("change", [delete, replace_by_another])
@EVERY
def test_stripped_files_changed_while_it_runs(
    interpreter: Interpreter, change: Callable[[Path], None], tmp_path: Path
) -> None:
    installation = Installation(interpreter, tmp_path)
    for file in installation.files:
        strip_and_drop_section_headers(file)
    with installation.started() as target:
        for file in installation.files:
            change(file)
        check(target)


@EVERY
def test_file_mapped_as_data_too(interpreter: Interpreter, tmp_path: Path) -> None:
    """Profilers, debuggers and ctypes do so. The mappings lie below the real one."""
    installation = Installation(interpreter, tmp_path)
    with installation.started(installation.library or installation.executable) as target:
        check(target)


@SHARED
def test_library_loaded_twice(interpreter: Interpreter, tmp_path: Path) -> None:
    """The second runtime is complete, and empty."""
    installation = Installation(interpreter, tmp_path)
    assert installation.library is not None
    second = tmp_path / f"second-{installation.library.name}"
    shutil.copy(installation.library, second)
    with installation.started(installation.library, second) as target:
        check(target)


@SHARED
def test_other_interpreters_library_loaded_too(interpreter: Interpreter, tmp_path: Path) -> None:
    """Nobody starts an interpreter of that version."""
    installation = Installation(interpreter, tmp_path)
    others = [libpython(one) for one in DIFFERENT_FILES if one.name != interpreter.name]
    other = next((library for library in others if library is not None), None)
    if other is None:
        pytest.skip("there is only one shared libpython here")
    with installation.started(other, other) as target:
        check(target)


@each_of(one for one in DIFFERENT_FILES if one.root is None)
def test_another_file_of_that_name_outside(interpreter: Interpreter, tmp_path: Path) -> None:
    """In the target's mount namespace. The tool sees other files of the same names there."""
    if os.geteuid() != 0:
        pytest.skip("takes the rights of root")
    installation = Installation(interpreter, tmp_path)
    hidden = tmp_path / "inside"
    hidden.mkdir()
    for file in installation.files:
        shutil.copy(file, hidden)
        replace_by_another(file)
        file.chmod(0o755)
    binds = " && ".join(
        f"mount --bind '{hidden / file.name}' '{file}'" for file in installation.files
    )
    command = ["unshare", "--mount", "sh", "-c", f'{binds} && exec "$@"', "sh"]
    with truthful_process(
        [*command, *installation.command()], tmp_path, installation.env
    ) as target:
        check(target)


@EVERY
def test_memory_by_file(interpreter: Interpreter, tmp_path: Path) -> None:
    """Where process_vm_readv is forbidden (seccomp profiles of containers), the mem file serves."""
    with truthful_target(interpreter, "stage.py", tmp_path) as target:
        env = {**os.environ, "PYSTACK_NO_PROCESS_VM_READV": "1"}
        for options in ([], ["--no-block"]):
            target.wait_for_barrier()
            dump = dump_json(target.pid, *options, env=env)
            assert differences(target.truth, dump) == []


@EVERY
def test_exhaustive_finds_the_same(interpreter: Interpreter, tmp_path: Path) -> None:
    with Installation(interpreter, tmp_path).started() as target:
        check(target, "--exhaustive")


# What packers of executables (UPX) leave: the interpreter in memory of no file.
UNMAP_FILE = """
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

int unmap_file(void *begin, unsigned long size, int access) {
    void *copy = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(copy, begin, size);
    mprotect(copy, size, access);
    return mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, begin) == begin;
}
"""
UNPACKED = """
import ctypes, os, re, runpy, sys
unmap_file = ctypes.PyDLL(sys.argv[1]).unmap_file
with open("/proc/self/maps") as maps:
    rows = [line.split() for line in maps]
for row in rows:
    if len(row) < 6 or not re.match("(lib)?python", os.path.basename(row[5])):
        continue
    begin, end = (int(part, 16) for part in row[0].split("-"))
    access = 4 * ("x" in row[1]) + 2 * ("w" in row[1]) + 1
    assert unmap_file(ctypes.c_void_p(begin), ctypes.c_ulong(end - begin), access)
del sys.argv[:2]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


# Only symbols tell a debug build.
@each_of(one for one in DIFFERENT_FILES if not one.debug)
def test_exhaustive_finds_an_interpreter_in_memory_of_no_file(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.json"
    source, library = tmp_path / "unmap.c", tmp_path / "unmap.so"
    source.write_text(UNMAP_FILE)
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", library], check=True)
    program = PROGRAMS / "small.py"
    command = interpreter.command("-c", UNPACKED, str(library), str(program), str(truth))
    with truthful_process(command, tmp_path, {}) as target:
        target.wait_for_barrier()
        if interpreter.version < (3, 13):
            assert "--exhaustive" in run_tool("dump", target.pid).stderr
        dump = dump_json(target.pid, "--exhaustive")
        assert differences(target.truth, dump) == []


# -- Programs that are not Python and run it --

EMBEDDING = """
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef LINKED
void Py_Initialize(void);
int PyRun_SimpleString(const char *);
#endif

static void *run(void *source) {
    void (*initialize)(void);
    int (*run_string)(const char *);
#ifdef LINKED
    initialize = Py_Initialize;
    run_string = PyRun_SimpleString;
#else
    void *library = dlopen(getenv("EMBEDDED_LIBRARY"), RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL) {
        fputs(dlerror(), stderr);
        exit(1);
    }
    *(void **)&initialize = dlsym(library, "Py_Initialize");
    *(void **)&run_string = dlsym(library, "PyRun_SimpleString");
#endif
    initialize();
    exit(run_string(source));
}

int main(int argc, char **argv) {
#ifdef IN_A_THREAD
    pthread_t thread;
    pthread_create(&thread, NULL, run, argv[1]);
    pthread_join(thread, NULL);
#else
    run(argv[1]);
#endif
}
"""


def missing(what: str) -> None:
    if os.environ.get(FULL_MATRIX_VARIABLE) == "1":
        pytest.fail(what)
    pytest.skip(what)


@pytest.mark.parametrize("way", ["LINKED", "LOADED", "IN_A_THREAD"])
@SHARED
def test_embedded(interpreter: Interpreter, way: str, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        missing("no C compiler")
    library = libpython(interpreter)
    assert library is not None
    source, program = tmp_path / "host.c", tmp_path / "host"
    source.write_text(EMBEDDING)
    compiler = ["cc", f"-D{way}", "-o", str(program), str(source)]
    linked = [str(library), f"-Wl,-rpath,{library.parent}"] if way == "LINKED" else []
    subprocess.run([*compiler, *linked, "-ldl", "-lpthread"], check=True)
    script = (
        f"import sys; sys.argv = ['small.py', {str(tmp_path / 'truth.json')!r}];"
        f"sys.path.insert(0, {str(PROGRAMS)!r}); import small;"
        f"small.main({int(way == 'IN_A_THREAD')})"
    )
    env = {
        "EMBEDDED_LIBRARY": str(library),
        "PYTHONHOME": str(interpreter.executable.parent.parent),
    }
    with truthful_process([str(program), script], tmp_path, env) as target:
        if way == "IN_A_THREAD":
            # The interpreter's main thread is not the process's. Which one is meant is not said.
            for thread in target.truth["threads"]:
                thread["is_main"] = None
            for options in ([], ["--no-block"]):
                target.wait_for_barrier()
                dump = dump_json(target.pid, *options)
                for thread in dump["threads"]:
                    thread["is_main"] = None
                assert differences(target.truth, dump) == []
        else:
            check(target)
