"""Reads a core many times, each time damaged otherwise.

    read_mutated.py CORE STRUCTURES.json COPY LIBRARY_ROOT|- SEED FIRST COUNT COMMAND_EVERY

With --locals, --native and --json in turn. For each number, one line goes to stdout: the number,
as soon as COPY is damaged, and JSON about the reading. What breaks a limit of time or memory, or
crashes, leaves a line without JSON, and the damaged COPY.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pystack
from pystack.render.json import render_json
from pystack.render.text import render_text
from security.core_damage import CoreDamage
from security.raw_text import raw_characters
from security.structures import Region, Structures

# Time is that of our CPU, so that a busy machine is no failure; the alarm is for what waits.
MAX_CPU_S = 5.0
ALARM_S = 30.0
MAX_MEMORY_BYTES = 500 << 20
# So that what breaks the limit does not take the machine with it.
MAX_ADDRESS_SPACE_BYTES = 2 << 30
DOCUMENTED_STATUSES = (0, 1, 3)


def options_of(number: int) -> tuple[bool, bool, bool]:
    """Locals, native, JSON: all combinations in turn."""
    return bool(number & 1), bool(number & 2), bool(number & 4)


def command_options(number: int) -> list[str]:
    return [
        option
        for option, chosen in zip(
            ("--locals", "--native", "--json"), options_of(number), strict=True
        )
        if chosen
    ]


def read(path: Path, number: int, root: str | None) -> dict[str, Any]:
    with_locals, with_native, as_json = options_of(number)
    try:
        snapshot = pystack.dump_core(
            path,
            library_root=root,
            locals=pystack.Locals() if with_locals else None,
            native=pystack.Native() if with_native else None,
        )
    except pystack.PystackError as error:
        sentence = str(error)
        if raw_characters(sentence) or error.exit_code not in DOCUMENTED_STATUSES:
            raise AssertionError(ascii(sentence)) from error
        return {"error": type(error).__name__}
    size = 0
    # Not split, which would be another copy: JSON is one line.
    for line in [render_json(snapshot)] if as_json else render_text(snapshot):
        assert not raw_characters(line), ascii(line)
        size += len(line)
    return {
        "error": None,
        "frames": sum(len(each.frames) for each in snapshot.threads),
        "size": size,
    }


def run_command(path: Path, number: int, root: str | None) -> dict[str, Any]:
    arguments = ["core", str(path), "--no-color", *command_options(number)]
    if root is not None:
        arguments += ["--lib-search-root", root]
    done = subprocess.run(
        [sys.executable, "-m", "pystack", *arguments],
        check=False,
        cwd=tempfile.gettempdir(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    text = (done.stdout + done.stderr).decode()
    assert done.returncode in DOCUMENTED_STATUSES, (done.returncode, text)
    assert "Traceback" not in text, text
    assert not any(map(raw_characters, text.split("\n"))), ascii(text)
    return {"error": None if done.returncode == 0 else f"status {done.returncode}"}


def peak_memory_bytes() -> int:
    """Since the last `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def load_structures(path: Path) -> Structures:
    document = json.loads(path.read_text())
    return Structures([Region(*each) for each in document["regions"]], tuple(document["arena"]))


def main() -> None:
    core, told, copy, root = (*map(Path, sys.argv[1:4]), sys.argv[4].removeprefix("-") or None)
    seed, first, count, command_every = map(int, sys.argv[5:9])
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE_BYTES,) * 2)
    # A crash leaves the copy, which is all that is needed.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    shutil.copy(core, copy)
    with copy.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        damage = CoreDamage(core.read_bytes(), load_structures(told))
        for offset, content in damage.arena_content():
            memory[offset : offset + len(content)] = content
        for number in range(first, first + count):
            changes = [
                (offset, content)
                for offset, content in damage.draw(random.Random(f"{seed} {number}"))
                if offset + len(content) <= len(memory)
            ]
            before = [
                (offset, memory[offset : offset + len(content)]) for offset, content in changes
            ]
            for offset, content in changes:
                memory[offset : offset + len(content)] = content
            print(number, end=" ", flush=True)
            forget_peak()
            start, start_cpu_s = time.monotonic(), time.process_time()
            signal.setitimer(signal.ITIMER_REAL, ALARM_S)
            by_command = number % command_every == command_every - 1
            result = (run_command if by_command else read)(copy, number, root)
            signal.setitimer(signal.ITIMER_REAL, 0)
            result["s"] = round(time.monotonic() - start, 3)
            result["cpu_s"] = round(time.process_time() - start_cpu_s, 3)
            result["memory"] = peak_memory_bytes()
            assert result["cpu_s"] <= MAX_CPU_S, result
            assert result["memory"] <= MAX_MEMORY_BYTES, result
            for offset, content in reversed(before):
                memory[offset : offset + len(content)] = content
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    os.environ.pop("DEBUGINFOD_URLS", None)
    main()
