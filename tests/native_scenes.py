"""What the stacks of `programs/native_scenes.py` are, and the extension module that they need."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from process_state import wait_until
from targets import PROGRAMS, Interpreter, Target

#: Python functions, and between them the C functions by which one calls the other, as far as every
#: version and build has them: there are more of these on the stack.
EXPECTED = (
    *("<module>", "extension", "native_ext.call_int", "ext::apply", "ext::call_back", "level_1"),
    *("native_ext.call_double", "ext::apply", "ext::call_back", "level_2"),
    *("native_ext.call_template", "ext::Visitor::visit", "ext::apply", "ext::call_back", "level_3"),
    *("sqlite_function", "sqlite3_step", "scalar"),
    *("qsort_callback", "qsort", "compare"),
    *("comparison", "list.sort", "__lt__"),
    *("iterator", "__next__"),
    *("max_key", "<lambda>"),
    *("class_with_init", "map.__next__", "<lambda>", "__init__"),
    *("mapped_generator", "map.__next__", "generate"),
    *("reduce_function", "_functools.reduce", "add"),
    *("sorted_key", "builtins.sorted", "key"),
    *("wait", "posix.read"),
)
#: Names of C functions above, and what else they are called: C libraries have their own names.
_ALIASES = {"qsort_r": "qsort", "__GI___qsort_r": "qsort", "list_sort_impl": "list.sort"}
_KNOWN = {*EXPECTED, *_ALIASES}

#: The signatures of the overloads, in the order of the calls.
SIGNATURES = (
    "ext::apply(_object*, long)",
    "ext::apply(_object*, double)",
    "ext::Visitor<double>::visit(_object*, double const&)",
    "ext::apply(_object*, double)",
)


def seen(frames: Sequence[Any]) -> tuple[str, ...]:
    """The names of a JSON stack that EXPECTED may have: all Python functions, and those in C."""
    names = []
    for frame in frames:
        if frame["kind"] == "python":
            names.append(frame["function"])
        elif frame["kind"] == "gap":
            names.append(f"[{frame['reason']}]")
        else:
            name = frame["python_name"] or frame["function"]
            name = _ALIASES.get(name, name)
            # One call in C can be several functions; sorted() is made of list.sort.
            same = {name, "builtins.sorted"} if name == "list.sort" else {name}
            if name in _KNOWN and same.isdisjoint(names[-1:]):
                names.append(name)
    return tuple(names)


def header_folder(interpreter: Interpreter) -> Path:
    """Where Python.h is; the interpreter knows."""
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    with interpreter.spawn(["-c", code], stdout=subprocess.PIPE, text=True) as target:
        output, _ = target.process.communicate()
    return interpreter.on_host(Path(output.strip()))


def build_extension(interpreter: Interpreter, folder: Path) -> None:
    """Compiles `native_ext` into the folder, with debug information and optimised."""
    options = ("-std=c++17", "-Wno-deprecated-declarations", "-static-libstdc++", "-static-libgcc")
    compile_extension(interpreter, "native_ext.cpp", folder, "g++", *options)


def compile_extension(
    interpreter: Interpreter, source: str, folder: Path, compiler: str, *options: str
) -> None:
    """Compiles one of the programs into a module in the folder, optimised, with debug info."""
    include = header_folder(interpreter)
    # Debian's headers name each other from /usr/include.
    parents = [include.parent, include.parent / "x86_64-linux-gnu"]
    subprocess.run(
        [
            *(compiler, "-O2", "-g", "-shared", "-fPIC", "-Wl,--build-id", *options),
            f"-I{include}",
            *(f"-idirafter{parent}" for parent in parents if interpreter.root is not None),
            *(str(PROGRAMS / source), "-o", str(folder / f"{Path(source).stem}.so")),
        ],
        check=True,
    )


@contextlib.contextmanager
def scene_target(
    interpreter: Interpreter, scene: str, folder: Path, **spawn: Any
) -> Iterator[Target]:
    """The scene, blocked in its innermost call. `folder` has the extension module."""
    ready = folder / f"{scene}.ready"
    with interpreter.spawn(
        [str(PROGRAMS / "native_scenes.py"), scene, str(ready), str(folder)],
        stdin=subprocess.PIPE,
        **spawn,
    ) as target:
        wait_until(lambda: ready.exists() or target.process.poll() is not None, scene)
        assert target.process.poll() is None, f"{scene} ended"
        wait_until(lambda: has_reader(target.pid), f"{scene} reads")
        yield target


def has_reader(pid: int) -> bool:
    """Whether a thread waits for standard input."""
    calls = Path(f"/proc/{pid}/task").glob("*/syscall")
    return any(re.match(r"0 0x0 ", call.read_text()) for call in calls)
