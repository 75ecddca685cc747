"""The demangler of Rust names against libiberty's (c++filt), which was written by rustc's people."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cpp_programs import run_lines, run_other
from rust_names import legacy_symbols, v0_symbols

# Without hashes, as ours.
CXXFILT = ["c++filt", "--no-verbose", "--format=rust"]
RUST_NAME = re.compile(r"_R\w+|_ZN[\w.$]+17h[0-9a-f]{16}E")


def compare(symbols: list[str]) -> None:
    theirs = run_other(CXXFILT, symbols)
    ours = run_lines("print_demangled", lines=symbols)
    wrong = [
        f"{symbol}\n  libiberty: {right}\n  here:      {found}"
        for symbol, right, found in zip(symbols, theirs, ours, strict=True)
        if right != found
    ]
    assert not wrong, f"{len(wrong)} of {len(symbols)}:\n" + "\n".join(wrong[:20])
    # One that neither knows proves nothing.
    known = sum(symbol != right for symbol, right in zip(symbols, theirs, strict=True))
    assert known > 0.9 * len(symbols)


def installed_symbols(distribution: str) -> list[str]:
    """Of the extension modules of a package that is written in Rust; none where it is missing."""
    found = importlib.util.find_spec(distribution)
    if found is None or found.submodule_search_locations is None:
        return []
    symbols: set[str] = set()
    for folder in map(Path, found.submodule_search_locations):
        for library in folder.glob("*.so"):
            text = subprocess.run(
                ["nm", "--no-demangle", library], check=True, text=True, capture_output=True
            ).stdout
            symbols.update(RUST_NAME.findall(text))
    return sorted(symbols)


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm (Debian: binutils)")
def test_real_symbols() -> None:
    # rpds comes with jsonschema, which the tests need, ast_serialize with mypy.
    symbols = installed_symbols("rpds") + installed_symbols("ast_serialize")
    if not symbols:
        pytest.skip("no package with Rust symbols is installed")
    compare(symbols)


def test_symbols_by_the_rules_of_v0() -> None:
    compare(list(v0_symbols(10_000)))


def test_symbols_by_the_legacy_rules() -> None:
    compare(list(legacy_symbols(5_000)))
