"""Native stacks of cores, as the tool has them, to compare with those of gdb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gdb_stacks import GdbFrame
from targets import Interpreter


def search_path(interpreter: Interpreter, *own: Path) -> str:
    """Where the files are that the core names: those of the test, and those of another root."""
    folders = list(own)
    if interpreter.root is not None:
        usr = interpreter.root / "usr"
        folders += [
            usr / "bin",
            usr / "lib/x86_64-linux-gnu",
            *usr.glob("lib/python3*/lib-dynload"),
        ]
    return ":".join(map(str, folders))


def native_frames(thread: Any) -> list[Any]:
    """Innermost first, as gdb has them."""
    return [frame for frame in reversed(thread["frames"]) if frame["kind"] == "native"]


def up_to_guess(thread: Any, expected: list[GdbFrame]) -> tuple[Any, list[GdbFrame]]:
    """Both stacks up to where gdb may lose its way, and we guess: code without tables, such as
    kernels of BLAS in assembler. There gdb takes what lies on the stack for return addresses, or
    ends."""
    frames = native_frames(thread)
    for index, frame in enumerate(frames):
        if not frame["is_guess"]:
            continue
        outwards = sum(not one["is_inlined"] for one in frames[:index])
        physical = [place for place, one in enumerate(expected) if not one.inlined]
        if len(physical) <= outwards or expected[physical[outwards]].pc != frame["address"]:
            known = expected[: physical[outwards]] if len(physical) > outwards else expected
            return {**thread, "frames": frames[:index][::-1]}, known
    return thread, expected


def check_against_gdb(thread: Any, expected: list[GdbFrame]) -> None:
    frames = native_frames(thread)
    assert [hex(one["address"]) for one in frames if not one["is_inlined"]] == [
        hex(one.pc) for one in expected if not one.inlined
    ]
    # gdb takes the nearest symbol for a name: only with debug information its names are beyond
    # doubt. Of the C library it prefers the internal ones.
    for ours, theirs in zip(
        [one for one in frames if not one["is_inlined"]],
        [one for one in expected if not one.inlined],
        strict=True,
    ):
        if ours["name_source"] != "debug-info" or theirs.name is None:
            continue
        short = theirs.name.partition("(")[0].partition("<")[0].rpartition("::")[2]
        assert (
            short in ours["signature"]
            or short.strip("_").removeprefix("GI_").strip("_").removeprefix("libc_")
            in ours["function"]
        )


def names(thread: Any) -> list[str]:
    """Of all frames, outermost first: C functions as Python knows them."""
    return [
        frame["function"]
        if frame["kind"] == "python"
        else frame["python_name"] or frame["function"]
        for frame in thread["frames"]
    ]
