"""Libraries of another user whose debug information is made to hurt, or that are cut short."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from security.attackers import ATTACKER_ID, attack, attacker_folder, needs_root
from tool_runs import TOOL, TOOL_FOLDER, TOOL_TIMEOUT_S, run_tool

pytestmark = [
    needs_root,
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]

#: It calls back from C, where it can be met, as long as the process lives.
CALLER = """
import ctypes, sys, time

library = ctypes.CDLL(sys.argv[1])
callback_type = ctypes.CFUNCTYPE(None)


@callback_type
def back():
    print("ready", flush=True)
    {action}
    while True:
        time.sleep(0.01)


library.call_back(back)
"""

CALL_BACK = """
void call_back(void (*back)(void)) { back(); __asm__ volatile("" ::: "memory"); }
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with attacker_folder() as made:
        yield made


def compile_library(folder: Path, source: Path, *options: str) -> Path:
    library = folder / "libhostile.so"
    command = ["cc", "-shared", "-fPIC", *options, "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    shutil.chown(library, ATTACKER_ID, ATTACKER_ID)
    return library


def ring_source(classes: int = 44) -> str:
    """Each class says that the next one, its child, is its sibling as well."""
    entries = "".join(f".Ld{i}:\n .uleb128 2\n .long .Ld{i + 1} - .Lunit\n" for i in range(classes))
    return f"""
    .text
.Lbegin:
    .globl call_back
    .type call_back, @function
call_back:
    .cfi_startproc
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call *%rdi
    nop
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size call_back, . - call_back
.Lend:
    .section .note.GNU-stack, "", @progbits
    .section .debug_abbrev, "", @progbits
.Labbreviations:
    .uleb128 1, 0x11
    .byte 1
    .uleb128 0x11, 1, 0x12, 7, 0x13, 5
    .byte 0, 0
    .uleb128 2, 0x13
    .byte 1
    .uleb128 1, 0x13
    .byte 0, 0
    .uleb128 3, 0x13
    .byte 0, 0, 0, 0
    .section .debug_info, "", @progbits
.Lunit:
    .long .Llast - .Lversion
.Lversion:
    .value 4
    .long .Labbreviations
    .byte 8
    .uleb128 1
    .quad .Lbegin, .Lend - .Lbegin
    .value 4
{entries}.Ld{classes}:
    .uleb128 3
    .fill {classes + 1}, 1, 0
.Llast:
"""


def test_siblings_that_are_children(folder: Path) -> None:
    source = folder / "ring.s"
    source.write_text(ring_source())
    library = compile_library(folder, source)
    with attack(folder, CALLER.format(action="pass"), library) as process:
        result = run_tool("dump", "--native-all", process.pid)
    assert result.returncode == 0, result.stderr
    assert "call_back" in result.stdout


def plant_bomb(library: Path, unpacked: int) -> None:
    """Puts a section that unpacks to far more than it should in the place of .debug_info."""
    content = bytearray(library.read_bytes())
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block) for _ in range(unpacked >> 20)) + packer.flush()
    headers = struct.unpack_from("<Q", content, 0x28)[0]
    count, names_index = struct.unpack_from("<HH", content, 0x3C)
    names = struct.unpack_from("<IIQQQQIIQQ", content, headers + names_index * 64)[4]
    offset = len(content)
    content += struct.pack("<IIQQ", 1, 0, unpacked, 1) + packed
    for at in range(headers, headers + count * 64, 64):
        section = list(struct.unpack_from("<IIQQQQIIQQ", content, at))
        name = names + section[0]
        if content[name : content.index(b"\0", name)] == b".debug_info":
            section[2] |= 0x800
            section[4:6] = offset, 24 + len(packed)
            struct.pack_into("<IIQQQQIIQQ", content, at, *section)
    library.write_bytes(content)


def test_section_that_unpacks_to_a_thousandfold(folder: Path) -> None:
    source = folder / "library.c"
    source.write_text(CALL_BACK)
    library = compile_library(folder, source, "-g")
    plant_bomb(library, 1 << 28)
    with attack(folder, CALLER.format(action="pass"), library) as process:
        peak = subprocess.run(
            [sys.executable, "-c", MEASURED, *TOOL, "dump", "--native-all", str(process.pid)],
            cwd=TOOL_FOLDER,
            capture_output=True,
            text=True,
            timeout=TOOL_TIMEOUT_S,
            check=True,
        )
    assert "call_back" in peak.stdout
    assert "expands from" in peak.stdout
    assert int(peak.stderr.splitlines()[-1]) < 150 << 10


#: Runs a command and prints the most memory that it had, in KiB.
MEASURED = """
import resource, subprocess, sys

subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.parametrize("kept", [0, 4096])
def test_library_that_is_cut_while_it_is_read(folder: Path, kept: int) -> None:
    source = folder / "library.c"
    source.write_text(CALL_BACK + "char filler[1 << 20] = {1};\n")
    library = compile_library(folder, source, "-g")
    cut = f"time.sleep(1); __import__('os').truncate({str(library)!r}, {kept})"
    with attack(folder, CALLER.format(action=cut), library) as process:
        options = ("--native", "-d", "3", "-o", folder / "recording.json")
        result = run_tool("record", *options, "--pid", process.pid)
    assert result.returncode == 0, result.stderr
    assert not re.search("Bus error|Traceback", result.stderr)
