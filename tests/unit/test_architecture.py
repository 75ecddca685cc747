"""The rules of docs/architecture.md that a reader of the sources can check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "cpp"
PROFILER = ROOT / "profiler" / "pystack_profiler"

# What each folder of cpp/ builds on directly; it may include what these build on, too.
ARROW: dict[str, tuple[str, ...]] = {
    "base": (),
    "model": ("base",),
    "memory": ("base",),
    "elf": ("memory",),
    "threads": ("memory",),
    "target": ("elf", "threads"),
    "unwind": ("target", "model"),
    "cpython": ("target", "model"),
    "capture": ("unwind", "cpython"),
    "bindings": ("capture",),
}

# They hold the layouts, or find out what the version is. All else asks the Layout. (ELF and DWARF
# have versions of their own.)
MAY_COMPARE_VERSIONS = re.compile(
    r"cpp/cpython/(layout.*|debug_offsets\.cpp|version_guesses\.cpp)|cpp/(elf|unwind)/.*"
)
_PART = r"\b(?:major|minor|micro|release_level|version)\b"
_COMPARISON = r"(?:[<>]=?|[=!]=)"
# The formatters put blanks around comparisons, and none around the brackets of templates.
VERSION_COMPARISON = re.compile(
    rf"{_PART}(?:\(\))?\s+{_COMPARISON}\s|\s{_COMPARISON}\s+[*\w.>()-]*{_PART}"
)


def reachable(folder: str) -> set[str]:
    return {folder}.union(*(reachable(below) for below in ARROW[folder]))


def wrong_includes(folder: str, text: str) -> list[str]:
    """The files of cpp/ that a file of `folder` may not include, and does."""
    included = re.findall(r'^\s*#\s*include\s*"(\w+)/([^"]+)"', text, re.MULTILINE)
    return [f"{other}/{name}" for other, name in included if other not in reachable(folder)]


def version_comparisons(text: str) -> list[str]:
    code = (
        re.sub(r"//.*|(?<!\w)#(?!\s*include).*|\"[^\"]*\"", "", line) for line in text.splitlines()
    )
    return [line.strip() for line in code if VERSION_COMPARISON.search(line)]


def cpp_files() -> list[Path]:
    files = (CPP / folder for folder in ARROW)
    return sorted(
        file for folder in files for file in folder.iterdir() if file.suffix in (".h", ".cpp")
    )


def imports(file: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each absolute import: the module, and the names that are taken from it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or "", tuple(alias.name for alias in node.names)


def test_every_folder_is_in_the_arrow() -> None:
    folders = {file.parent.name for file in CPP.glob("*/*.cpp")} | {
        file.parent.name for file in CPP.glob("*/*.h")
    }
    assert folders <= set(ARROW)


def test_includes_follow_the_arrow() -> None:
    files = cpp_files()
    assert len(files) > 50
    wrong = {
        str(file.relative_to(ROOT)): found
        for file in files
        if (found := wrong_includes(file.parent.name, file.read_text()))
    }
    assert not wrong


@pytest.mark.parametrize(
    ("folder", "line", "is_wrong"),
    [
        ("memory", '#include "elf/elf_image.h"', True),
        ("memory", '  #  include "target/target.h"', True),
        ("cpython", '#include "capture/capture.h"', True),
        ("cpython", '#include "unwind/native_frame.h"', True),
        ("unwind", '#include "cpython/layout.h"', True),
        ("model", '#include "memory/memory_reader.h"', True),
        ("cpython", '#include "base/result.h"', False),
        ("capture", '#include "threads/registers.h"', False),
        ("memory", "#include <elf.h>", False),
    ],
)
def test_wrong_includes_are_seen(folder: str, line: str, is_wrong: bool) -> None:
    assert bool(wrong_includes(folder, line)) is is_wrong


def test_only_layouts_compare_versions() -> None:
    python = [*(ROOT / "pystack").rglob("*.py"), *PROFILER.rglob("*.py")]
    found = {
        name: comparisons
        for file in [*cpp_files(), *python]
        if not MAY_COMPARE_VERSIONS.fullmatch(name := str(file.relative_to(ROOT)))
        and (comparisons := version_comparisons(file.read_text()))
    }
    assert not found


@pytest.mark.parametrize(
    ("line", "is_comparison"),
    [
        ("if (version.minor >= 11) {", True),
        ("if (layout.version < PythonVersion{3, 11}) {", True),
        ("return 12 <= runtime.version.minor;", True),
        ("const bool old = layout_.version.minor == 6;", True),
        ("if snapshot.version == '3.13':", True),
        ("if self.version >= (3, 11):", True),
        ("snapshot.version = runtime.version.to_string();", False),
        ("const PythonVersion& version = runtime.version;", False),
        ("// version.minor >= 11", False),
        ("std::vector<PythonVersion> version;", False),
        ("auto version = std::optional<PythonVersion>(runtime->version);", False),
    ],
)
def test_comparisons_are_seen(line: str, is_comparison: bool) -> None:
    assert bool(version_comparisons(line)) is is_comparison


def test_the_profiler_uses_public_names_only() -> None:
    private = [
        f"{file.name}: {module} {name}"
        for file in PROFILER.rglob("*.py")
        for module, names in imports(file)
        if module.split(".")[0] == "pystack"
        for name in (*module.split("."), *names)
        if name.startswith("_") and name != "__version__"
    ]
    assert not private


def test_pystack_does_not_import_the_profiler() -> None:
    """Except by name, when the `record` command is called."""
    importing = [
        file.name
        for file in (ROOT / "pystack").rglob("*.py")
        for module, _ in imports(file)
        if module.split(".")[0] == "pystack_profiler"
    ]
    assert not importing
