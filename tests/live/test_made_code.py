"""Native stacks through code that is made at run time, and such that end before their thread does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import pystack
from interpreters import required, with_greenlets
from marks import each_of
from sampled_stacks import Recorded
from targets import PROGRAMS, Interpreter, Target
from tool_runs import dump_json
from wheels import package_for

pytestmark = pytest.mark.live

WITH_TRAMPOLINES = [one for one in required() if one.version >= (3, 12, 0)]

#: Calls from Python to Python, and through C; then it waits in C, or works.
CALLS = """
import functools, sys, time
def first(depth):
    if depth:
        return first(depth - 1)
    return functools.reduce(lambda one, other: second(), [1, 2])
def second():
    print("ready", flush=True)
    if sys.argv[1] == "blocked":
        sys.stdin.readline()
    while True:
        third()
def third():
    return sorted([3, 2, 1], key=lambda one: sum(range(1000)))
first(3)
"""


def ready(target: Target) -> int:
    assert target.process.stdout is not None
    target.process.stdout.readline()
    return target.pid


def names(thread: Any) -> list[str]:
    """What `dump` shows, outermost first; gaps in brackets."""
    return [
        f"[{frame['reason']}]"
        if frame["kind"] == "gap"
        else frame.get("python_name") or frame["function"]
        for frame in thread["frames"]
        if not frame.get("is_plumbing")
    ]


def spawn_calls(interpreter: Interpreter, mode: str, *options: str) -> Any:
    return interpreter.spawn(
        [*options, "-c", CALLS, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@each_of(WITH_TRAMPOLINES)
def test_trampolines_for_perf_are_seen_through(interpreter: Interpreter) -> None:
    """`-X perf` calls each Python function through code of its own: the stack ended at the first."""
    stacks = []
    for options in ((), ("-X", "perf")):
        with spawn_calls(interpreter, "blocked", *options) as target:
            [thread] = dump_json(ready(target), "--native")["threads"]
            stacks.append(names(thread))
            if options:
                # Each Python function has one.
                trampolines = [one for one in thread["frames"] if one.get("module") is None]
                assert len(trampolines) > 6
    assert stacks[1] == stacks[0]
    assert "_functools.reduce" in stacks[0]


@each_of(WITH_TRAMPOLINES)
def test_recordings_through_trampolines_for_perf(interpreter: Interpreter) -> None:
    with spawn_calls(interpreter, "busy", "-X", "perf") as target:
        recorded = Recorded(ready(target), 100, pystack.Native())
    assert recorded.stats["partly_merged"] == 0
    [whole, *_] = [stack for stack in recorded.stacks if "sum" in str(stack)]
    assert not [one for one in whole if one.startswith(("0x", "py::", "<native"))]


@pytest.fixture
def greenlets(interpreter: Interpreter, tmp_path: Path) -> Any:
    package = package_for(interpreter, "greenlet", tmp_path)

    def spawn(mode: str) -> Any:
        return interpreter.spawn(
            [str(PROGRAMS / "greenlets.py"), str(package), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    return spawn


IN_GREENLET = ("body", *["in_greenlet"] * 4, "builtins.sorted", "innermost")


def in_order(wanted: Sequence[str], found: Sequence[str]) -> bool:
    rest = iter(found)
    return all(one in rest for one in wanted)


@each_of(with_greenlets())
def test_the_stack_of_a_greenlet_ends_where_it_was_started(
    interpreter: Interpreter, greenlets: Any
) -> None:
    with greenlets("blocked") as target:
        plain = dump_json(ready(target))["threads"][0]
        thread = dump_json(target.pid, "--native")["threads"][0]
    assert [one for one in thread["frames"] if one["kind"] == "python"] == plain["frames"]
    stack = names(thread)
    assert in_order(IN_GREENLET, stack)
    assert not [one for one in stack if one.startswith("[")]
    # The library's function that started it, and nothing of what another greenlet has left behind.
    assert "inner_bootstrap" in stack[0]
    assert stack[1] == "body"


@each_of(with_greenlets())
def test_recordings_of_greenlets(interpreter: Interpreter, greenlets: Any) -> None:
    with greenlets("busy") as target:
        recorded = Recorded(ready(target), 300, pystack.Native())
    stats = recorded.stats
    # One that is between two greenlets has no stack.
    assert stats["partly_merged"] <= stats["taken"] // 20
    of_other = [stack for stack in recorded.stacks if "innermost" in stack]
    of_main = [stack for stack in recorded.stacks if "resumes" in stack]
    assert of_other
    assert of_main
    assert not [stack for stack in of_other if "resumes" in stack]
    # Caught between the two, one has its Python frames on the C stack of the other. Versions before
    # 3.11 leave nothing on it by which that could be seen.
    whole = [stack for stack in of_other if in_order(IN_GREENLET, stack)]
    assert len(whole) >= len(of_other) * 0.95
    assert all(in_order(["<module>", *["resumes"] * 21], stack) for stack in of_main)


#: Code that is mapped by a program which names it in a map file, as JIT compilers do.
MAPPED = """
import ctypes, mmap, os, sys
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
# push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret
page.write(bytes.fromhex("554889e5ffd75dc3"))
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
def wait():
    print("ready", flush=True)
    sys.stdin.readline()
callback = ctypes.CFUNCTYPE(None)(wait)
with open(f"/tmp/perf-{os.getpid()}.map", "w") as names:
    names.write(f"{address:x} 8 old\\nno line\\n{address:x} 8 LazyCompile:*made /x.js:1\\n")
ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.cast(callback, ctypes.c_void_p))
"""


@pytest.fixture
def mapped() -> Iterator[tuple[int, Path]]:
    interpreter = next(one for one in required() if one.root is None and one.version >= (3, 8, 0))
    with interpreter.spawn(["-c", MAPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as target:
        pid = ready(target)
        path = Path(f"/tmp/perf-{pid}.map")
        try:
            yield pid, path
        finally:
            path.unlink(missing_ok=True)


def made_frames(pid: int) -> list[Any]:
    [thread] = dump_json(pid, "--native")["threads"]
    return [one for one in thread["frames"] if one["kind"] == "native" and one["module"] is None]


def test_names_of_a_perf_map(mapped: tuple[int, Path]) -> None:
    [frame] = made_frames(mapped[0])
    assert (frame["function"], frame["name_source"]) == ("LazyCompile:*made /x.js:1", "perf-map")


def test_recordings_have_names_of_a_perf_map(mapped: tuple[int, Path]) -> None:
    recorded = Recorded(mapped[0], 3, pystack.Native())
    assert "LazyCompile:*made /x.js:1" in recorded.stacks[0]


def test_perf_maps_that_others_made_are_not_read(mapped: tuple[int, Path]) -> None:
    pid, path = mapped
    content = path.read_text()
    os.chown(path, 12345, 12345)
    assert made_frames(pid)[0]["name_source"] == "none"
    # By an earlier process with this pid.
    os.chown(path, os.getuid(), os.getgid())
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert made_frames(pid)[0]["name_source"] == "none"
    path.unlink()
    os.mkfifo(path)
    assert made_frames(pid)[0]["name_source"] == "none"
    path.unlink()
    path.write_text(content)
    assert made_frames(pid)[0]["name_source"] == "perf-map"
