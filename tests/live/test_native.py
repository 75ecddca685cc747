"""Native frames and Python frames of one stack, on every interpreter."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from interpreters import required
from marks import each_interpreter, each_of
from native_scenes import EXPECTED, SIGNATURES, build_extension, scene_target, seen
from targets import Interpreter
from tool_runs import dump_json, run_tool
from truthful_target import truthful_target

pytestmark = pytest.mark.live


def gaps(thread: Any) -> list[str]:
    return [frame["reason"] for frame in thread["frames"] if frame["kind"] == "gap"]


@each_interpreter
def test_c_and_python_call_each_other(interpreter: Interpreter, tmp_path: Path) -> None:
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, "extension", tmp_path) as target:
        plain = dump_json(target.pid)
        document = dump_json(target.pid, "--native")
        last = dump_json(target.pid, "--native-last")
        text = run_tool("dump", "--native", "--signatures", target.pid).stdout
    [thread] = document["threads"]
    assert gaps(thread) == []
    assert seen(thread["frames"]) == EXPECTED
    python = [frame for frame in thread["frames"] if frame["kind"] == "python"]
    assert python == plain["threads"][0]["frames"]

    # Everything that is native comes after the innermost Python frame.
    kinds = [frame["kind"] for frame in last["threads"][0]["frames"]]
    assert kinds == sorted(kinds, reverse=True)
    assert seen(last["threads"][0]["frames"])[-1] == "posix.read"

    shown = [line.strip() for line in text.splitlines()]
    found = [one for line in shown for one in set(SIGNATURES) if line.startswith(f"C {one},")]
    assert found == list(SIGNATURES)
    # The loop and what calls are made by is hidden; so is how the program starts.
    assert "_PyEval_EvalFrameDefault" not in text
    assert "Py_BytesMain" not in text
    assert shown[3].endswith("in <module>")


@each_interpreter
def test_stacks_of_every_kind_are_merged(interpreter: Interpreter, tmp_path: Path) -> None:
    """All that can be on a Python stack, on some 150 threads: none has a gap or lacks a frame."""
    with truthful_target(interpreter, "stage.py", tmp_path) as target:
        plain = dump_json(target.pid)
        document = dump_json(target.pid, "--native")
    stacks = {thread["tid"]: thread["frames"] for thread in plain["threads"]}
    for thread in document["threads"]:
        assert gaps(thread) == []
        frames = thread["frames"]
        assert [one for one in frames if one["kind"] == "python"] == stacks[thread["tid"]]


@each_interpreter
def test_threads(interpreter: Interpreter, tmp_path: Path) -> None:
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, "threads", tmp_path) as target:
        known = dump_json(target.pid, "--native")
        document = dump_json(target.pid, "--native-all")
    assert [thread for thread in document["threads"] if thread["python_thread_id"]] == [
        {**thread, "frames": thread["frames"]} for thread in known["threads"]
    ]
    [worker] = [thread for thread in document["threads"] if thread["python_thread_id"] is None]
    assert worker["interpreter_id"] is None
    assert "ext::wait_forever" in [frame["function"] for frame in worker["frames"]]
    assert worker["stack_end"] == "no_python"
    stacks = [
        [frame.get("python_name") or frame["function"] for frame in thread["frames"]]
        for thread in document["threads"]
    ]
    assert any("in_thread" in stack and "posix.read" in stack for stack in stacks)
    assert any("native_ext.call_in_thread" in stack for stack in stacks)
    # Debian's 3.13 has lock.acquire inlined into the function that calls methods.
    waits = {"_thread.lock.acquire", "_PyParkingLot_Park"}
    assert any("acquires" in stack and waits & {*stack} for stack in stacks)


@pytest.mark.parametrize("name", ["3.13-debian-sid", "3.15-debian-sid"])
def test_in_a_container(name: str, tmp_path: Path) -> None:
    interpreter = next((one for one in required() if one.name == name), None)
    if interpreter is None:
        pytest.skip(f"no {name} here")
    build_extension(interpreter, tmp_path)
    with scene_target(interpreter, "extension", tmp_path, container=True) as target:
        [thread] = dump_json(target.pid, "--native")["threads"]
    assert gaps(thread) == []
    assert seen(thread["frames"]) == EXPECTED


def test_debug_files_of_the_targets_own_root(tmp_path: Path) -> None:
    """Names, lines and inlined calls from the .debug files that only the target can see."""
    interpreters = [one for one in required() if one.name == "3.14-debian-sid"]
    if not interpreters:
        pytest.skip("no 3.14-debian-sid here")
    build_extension(interpreters[0], tmp_path)
    with scene_target(interpreters[0], "extension", tmp_path, debug_files=True) as target:
        [thread] = dump_json(target.pid, "--native")["threads"]
    assert seen(thread["frames"]) == EXPECTED
    [sort] = [one for one in thread["frames"] if one.get("function") == "builtin_sorted"]
    assert sort["file"].endswith("Python/bltinmodule.c")
    assert sort["name_source"] == "debug-info"
    assert sort["python_name"] == "builtins.sorted"


def test_json_is_as_it_was_without_native(tmp_path: Path) -> None:
    interpreter = required()[-1]
    with truthful_target(interpreter, "small.py", tmp_path) as target:
        text = json.dumps(dump_json(target.pid))
    assert "is_plumbing" not in text
    assert '"gap"' not in text


@pytest.mark.parametrize("kind", ["zlib", "zlib-gnu", "zstd"])
def test_compressed_debug_sections(kind: str, tmp_path: Path) -> None:
    """`zlib-gnu` is the old form, whose sections are called `.zdebug_info`."""
    interpreter = next(one for one in required() if one.root is None and one.version >= (3, 8, 0))
    build_extension(interpreter, tmp_path)
    library = tmp_path / "native_ext.so"
    subprocess.run(["objcopy", f"--compress-debug-sections={kind}", library], check=True)
    with scene_target(interpreter, "extension", tmp_path) as target:
        [thread] = dump_json(target.pid, "--native")["threads"]
    [apply, *_] = [one for one in thread["frames"] if one.get("function") == "ext::apply"]
    assert apply["name_source"] == "debug-info"
    assert apply["file"].endswith("native_ext.cpp")
    assert apply["line"] is not None


#: Garbage whose destructor waits, while another thread sleeps.
COLLECTS = """
import gc, sys, threading, time
class Ring:
    def __init__(self):
        self.me = self
    def __del__(self):
        print("ready", flush=True)
        sys.stdin.readline()
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
Ring()
gc.collect()
"""


@each_of([one for one in required() if not one.stripped])
def test_the_thread_that_collects_garbage(interpreter: Interpreter) -> None:
    with interpreter.spawn(
        ["-c", COLLECTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as target:
        assert target.process.stdout is not None
        target.process.stdout.readline()
        plain = dump_json(target.pid)["threads"]
        threads = dump_json(target.pid, "--native")["threads"]
    # The flag is the interpreter's, and does not say who.
    assert all(one["gc_collecting"] is not True for one in plain)
    assert {one["is_main"]: one["gc_collecting"] for one in threads} == {True: True, False: False}


#: A destructor that waits, called by the interpreter's function for all classes; `random.Random` is a type
#: of C that has the same one.
DESTRUCTOR = """
import random
class Node:
    def __init__(self): self.me = self
    def __del__(self):
        print("ready", flush=True)
        input()
def drop():
    node = Node()
    node.me = None
    del node
drop()
"""


@each_interpreter
def test_what_all_classes_share_has_the_name_of_no_type(interpreter: Interpreter) -> None:
    """subtype_dealloc was `_random.Random.tp_dealloc`, in every tree of objects that is freed."""
    with interpreter.spawn(
        ["-c", DESTRUCTOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as target:
        assert target.process.stdout is not None
        target.process.stdout.readline()
        [thread] = dump_json(target.pid, "--native")["threads"]
    native = [frame for frame in thread["frames"] if frame["kind"] == "native"]
    assert native
    names = [frame["python_name"] or frame["function"] for frame in native]
    assert not [name for name in names if "_random." in name or ".tp_" in name], names
