#!/usr/bin/env python3
"""Writes inputs for a fuzz target to start from, out of what the machine has: its own small ELF files,
symbols, code, files under /proc, and the line tables of tests/cpp/support/fixtures. Used by tools/fuzz.

    tools/fuzz_seeds.py fuzz_NAME LIBRARY FOLDER

LIBRARY is what tests/fuzz/seed_library.cpp was built into. Other seeds are made by the fuzz targets
themselves (`fuzz_NAME --seeds FOLDER`); a target that needs no more gets none here.
"""

from __future__ import annotations

import lzma
import random
import re
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")

# Small, so that most changes hit something that matters.
MAX_FILE = 24_000
MAX_SEEDS = 300


def elf_files(library: Path) -> Iterator[bytes]:
    small = (file for file in LIBRARIES.glob("*.so*") if file.stat().st_size <= MAX_FILE)
    files = sorted({file.resolve() for file in small})
    yield from (file.read_bytes() for file in random.Random(1).sample(files, min(8, len(files))))
    yield from variants(library)


def variants(library: Path) -> Iterator[bytes]:
    """The library as distributions would ship it: stripped, compressed, with links."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        symbols = folder / "symbols"
        symbols.write_bytes(lzma.compress(library.read_bytes()))
        link = folder / "library.debug"
        link.write_bytes(library.read_bytes())
        for options in (
            ["--strip-all"],
            ["--only-keep-debug"],
            ["--compress-debug-sections=zlib"],
            ["--compress-debug-sections=zlib-gnu"],
            ["--strip-all", f"--add-section=.gnu_debugdata={symbols}"],
            ["--strip-all", f"--add-gnu-debuglink={link}"],
            ["--remove-section=.eh_frame_hdr", "--remove-section=.debug_aranges"],
        ):
            made = folder / "made"
            done = subprocess.run(["objcopy", *options, library, made], capture_output=True)
            if done.returncode == 0:
                yield made.read_bytes()


def symbols(library: Path) -> Iterator[bytes]:
    from_rust = list(Path(sysconfig.get_path("purelib")).glob("rpds/*.so"))
    for file, option in [
        (LIBRARIES / "libstdc++.so.6", "-D"),
        *((file, "-a") for file in from_rust),
    ]:
        listed = subprocess.run(["nm", option, file], capture_output=True, text=True).stdout
        names = sorted(set(re.findall(r"\b_[RZ]\S+", listed)))
        chosen = random.Random(1).sample(names, min(MAX_SEEDS // 2, len(names)))
        yield from (name.partition("@")[0].encode() for name in chosen)


def code(library: Path) -> Iterator[bytes]:
    text = (LIBRARIES / "libc.so.6").read_bytes()
    places = random.Random(1).sample(range(0x30000, len(text) // 2), MAX_SEEDS)
    yield from (text[place : place + 64] for place in places)


def line_tables(library: Path) -> Iterator[bytes]:
    """As fuzz_line_table.cpp has them: first line, offset, table."""
    for file in sorted(
        (ROOT / "tests" / "cpp" / "support" / "fixtures" / "line_tables").glob("*.txt")
    ):
        for table in re.findall(r"^table \w+ (\d+) ([0-9a-f]+)$", file.read_text(), re.MULTILINE):
            yield struct.pack("<ih", int(table[0]), 16) + bytes.fromhex(table[1])


def process_files(library: Path) -> Iterator[bytes]:
    for name in ("maps", "stat", "status", "schedstat", "syscall"):
        for process in ("self", "1"):
            try:
                yield Path("/proc", process, name).read_bytes()
            except OSError:
                continue


MAKERS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    "fuzz_call_frames": elf_files,
    "fuzz_debug_info": elf_files,
    "fuzz_demangle": symbols,
    "fuzz_elf_image": elf_files,
    "fuzz_elf_sections": elf_files,
    "fuzz_instructions": code,
    "fuzz_line_table": line_tables,
    "fuzz_process_files": process_files,
}


def main() -> None:
    target, library, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    seeds = MAKERS[target](library) if target in MAKERS else iter(())
    for number, seed in enumerate(seeds):
        (folder / f"machine-{number}").write_bytes(seed)


if __name__ == "__main__":
    main()
