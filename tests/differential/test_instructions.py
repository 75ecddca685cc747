"""The decoder of x86-64 instructions against objdump, on whole libraries."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cpp_programs import run_lines

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="instructions of x86-64"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump (Debian: binutils)"),
]

_REGISTERS = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"]
_REGISTERS += [f"r{number}" for number in range(8, 16)]
_NUMBERS = {f"%{name}": number for number, name in enumerate(_REGISTERS)}

_PREFIXES = {"bnd", "notrack", "rep", "repz", "repnz", "lock", "data16", "addr32"}
_PREFIXES |= {"cs", "ds", "es", "fs", "gs", "ss"}
# The jumps of the counter register (jrcxz, loop) count as others.
_BRANCH = re.compile(r"j(?!mp|e?cxz|rcxz)[a-z]+(,p[nt])?$")
# 0x10(%rsp), (%rax); not what has an index, a segment or a shorter register.
_PLAIN_MEMORY = re.compile(r"(-?0x[0-9a-f]+)?\((%\w+)\)$")


# Made of data, or of the kernel's. Of jumps of 16 bits processors have different ideas.
_NOT_OF_PROGRAMS = re.compile(r"\(bad\)|%(cr|db|tr)\d|\b(call|jmp|ret|leave)w\b")


@dataclass(frozen=True)
class Instruction:
    """As objdump has it."""

    address: int
    code: str  # In hexadecimal.
    mnemonic: str
    operands: str

    @property
    def size(self) -> int:
        return len(self.code) // 2


def disassembled(file: Path) -> Iterator[Instruction]:
    # AT&T syntax, which is the default, names sizes and registers in full.
    command = ["objdump", "--disassemble", "--insn-width=16", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as objdump:
        assert objdump.stdout is not None
        for line in objdump.stdout:
            columns = line.rstrip("\n").split("\t")
            if len(columns) != 3:
                continue
            place, code, text = columns
            words = text.partition("#")[0].split()
            while words and (words[0] in _PREFIXES or words[0].startswith("rex")):
                words.pop(0)
            if not words or words[0].startswith(".") or _NOT_OF_PROGRAMS.search(text):
                continue
            # Two instructions, which assemblers have one name for: fwait, and the other.
            if code.startswith("9b ") and words[0] != "fwait":
                continue
            yield Instruction(
                int(place.strip().rstrip(":"), 16),
                code.replace(" ", ""),
                words[0],
                " ".join(words[1:]),
            )


def split(operands: str) -> list[str]:
    """At the commas that are not in parentheses."""
    return re.split(r",(?![^(]*\))", operands)


def jump(kind: str, instruction: Instruction) -> str:
    operand = instruction.operands
    if operand.startswith("*"):
        return kind
    target = int(operand.split()[0], 16)
    return f"{kind} {signed(target - instruction.address - instruction.size)}"


def signed(value: int) -> int:
    value %= 2**64
    return value - 2**64 if value >= 2**63 else value


def immediate(operand: str) -> int:
    return signed(int(operand.removeprefix("$"), 16))


def plain_memory(operand: str) -> tuple[int, int] | None:
    """The register and the displacement."""
    found = _PLAIN_MEMORY.match(operand)
    if found is None or found[2] not in _NUMBERS:
        return None
    return _NUMBERS[found[2]], int(found[1] or "0", 16)


def expected(instruction: Instruction) -> str:
    """What the decoder must say behind the size: "other" also of what it may leave unexplained."""
    mnemonic = instruction.mnemonic.rstrip("q")
    operands = split(instruction.operands)
    if mnemonic in ("call", "jmp"):
        return jump("call" if mnemonic == "call" else "jump", instruction)
    if _BRANCH.match(mnemonic):
        return jump("branch", instruction)
    if mnemonic in ("ret", "leave"):
        return "return" if mnemonic == "ret" else "leave"
    if mnemonic == "push" and (operands[0] in _NUMBERS or not operands[0].startswith("%")):
        return f"push {_NUMBERS.get(operands[0], 0)}"
    if mnemonic == "pop" and operands[0] in _NUMBERS:
        return f"pop {_NUMBERS[operands[0]]}"
    if len(operands) != 2 or mnemonic not in ("mov", "lea", "add", "sub", "and"):
        return "other"
    source, target = operands
    if mnemonic == "mov" and source in _NUMBERS:
        if target in _NUMBERS:
            return f"move {_NUMBERS[target]} {_NUMBERS[source]}"
        if place := plain_memory(target):
            return f"store {place[0]} {_NUMBERS[source]} {place[1]}"
    if target not in _NUMBERS:
        return "other"
    if mnemonic == "lea" and (place := plain_memory(source)):
        return f"lea {_NUMBERS[target]} {place[0]} {place[1]}"
    if source.startswith("$"):
        value = immediate(source)
        if mnemonic in ("add", "sub"):
            return f"add {_NUMBERS[target]} {value if mnemonic == 'add' else -value}"
        if mnemonic == "and":
            return f"align {_NUMBERS[target]} {value}"
    return "other"


def mapped_files() -> list[Path]:
    """Those of this interpreter and of its libraries with the most and the oddest code."""
    import ssl  # noqa: F401  Hand-written assembler: libcrypto.

    maps = Path("/proc/self/maps").read_text().splitlines()
    paths = {Path(line.split()[-1]) for line in maps if "/" in line}
    wanted = ("libpython", "python", "libc.", "libm.", "libcrypto.", "ld-linux")
    files = sorted(path for path in paths if path.name.startswith(wanted) and path.is_file())
    assert files
    return files


@pytest.mark.parametrize("file", mapped_files(), ids=lambda path: path.name)
def test_sizes_and_kinds(file: Path) -> None:
    # What is there again and again is decoded once.
    distinct = {instruction.code: instruction for instruction in disassembled(file)}
    found = run_lines("print_instructions", lines=list(distinct))
    unknown: Counter[str] = Counter()
    wrong = []
    for instruction, line in zip(distinct.values(), found, strict=True):
        right = f"{instruction.size} {expected(instruction)}"
        if line == "-":
            unknown[instruction.mnemonic] += 1
        elif line != right:
            wrong.append(f"{instruction}: {line}, not {right}")
    assert not wrong, f"{len(wrong)} of {len(distinct)}:\n" + "\n".join(wrong[:20])
    # It knows the whole instruction set of compilers; what it refuses ends a walk through a function.
    assert unknown.total() <= len(distinct) / 1000, unknown.most_common(20)
