"""Native stacks as gdb sees them in a core, to compare with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from targets import Interpreter

_TIMEOUT_S = 120.0

# Frames that gdb makes up for calls that were jumps are no frames of the stack.
_PROGRAM = """
import gdb, json
stacks = {}
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frame = gdb.newest_frame()
    frames = []
    while frame is not None:
        if frame.type() != gdb.TAILCALL_FRAME:
            frames.append((frame.pc(), frame.name(), frame.type() == gdb.INLINE_FRAME))
        try:
            frame = frame.older()
        except gdb.error:
            break
    stacks[thread.ptid[1] or thread.ptid[0]] = frames
with open(OUTPUT, "w") as file:
    json.dump(stacks, file)
"""


class GdbFrame(NamedTuple):
    pc: int
    name: str | None
    inlined: bool


def gdb_stacks(
    interpreter: Interpreter, core: Path, folder: Path, *, solib_folders: Sequence[Path] = ()
) -> dict[int, list[GdbFrame]]:
    """By tid, innermost frame first."""
    output = folder / "gdb.json"
    program = folder / "gdb_program.py"
    program.write_text(_PROGRAM.replace("OUTPUT", repr(str(output))))
    search_path = ":".join(map(str, (folder, *solib_folders)))
    root = [] if interpreter.root is None else ["-iex", f"set sysroot {interpreter.root}"]
    done = subprocess.run(
        [
            *("gdb", "-nx", "-batch", "-iex", "set auto-load off"),
            *("-iex", "set debuginfod enabled off", *root),
            *("-iex", f"set solib-search-path {search_path}"),
            *("-iex", "set backtrace past-main on", "-iex", "set backtrace past-entry on"),
            *(str(interpreter.host_executable), str(core), "-x", str(program)),
        ],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_TIMEOUT_S,
    )
    assert output.exists(), done.stdout + done.stderr
    stacks = json.loads(output.read_text())
    return {int(tid): [GdbFrame(*one) for one in frames] for tid, frames in stacks.items()}
