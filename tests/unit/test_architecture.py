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

# What each folder of cpp/ builds on directly; it may include what these build on, too. Folders that
# are not here belong to the folder around them, such as arch/x86_64.
ARROW: dict[str, tuple[str, ...]] = {
    "base": (),
    "files": ("base",),
    "model": ("base",),
    "memory": ("base",),
    "arch": ("base",),
    "elf": ("memory", "files"),
    "process": ("memory", "arch"),
    "target": ("elf", "process"),
    "modules": ("target",),
    "unwind": ("modules",),
    "symbols": ("unwind",),
    "cpython/layout": ("target", "model"),
    "cpython/objects": ("cpython/layout",),
    "cpython/frames": ("cpython/objects",),
    "cpython/runtime": ("cpython/frames", "waits"),
    "cpython/tasks": ("cpython/runtime",),
    "cpython/values": ("cpython/frames",),
    "waits": ("process", "files", "model"),
    "cpython/sync": ("cpython/values", "waits"),
    "merge": ("cpython/runtime", "symbols"),
    "snapshot": ("merge", "cpython/sync", "cpython/tasks"),
    "sampling": ("merge", "cpython/sync", "cpython/tasks"),
    "bindings": ("snapshot", "sampling"),
}

# What each module of pystack may import of pystack, directly. A package such as render counts as one
# module, and "pystack" is the package's own file, which has the public names.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "pystack": (
        "api",
        "debuginfod",
        "errors",
        "locals_options",
        "model",
        "native_options",
        "waits",
    ),
    "pystack.__main__": ("cli",),
    "pystack.api": (
        "_core",
        "core_unpack",
        "diagnosis",
        "errors",
        "locals_options",
        "model",
        "native_options",
        "path_arguments",
    ),
    "pystack.checkup": ("api", "diagnosis", "errors", "model", "process_facts"),
    "pystack.cli": (
        "pystack",
        "api",
        "checkup",
        "core_unpack",
        "debuginfod",
        "diagnosis",
        "errors",
        "locals_options",
        "model",
        "native_options",
        "process_facts",
        "progress",
        "render",
    ),
    "pystack.core_extent": (),
    "pystack.core_unpack": ("core_extent", "errors", "sparse_file"),
    "pystack.debug_cache": ("safe_files", "safe_paths"),
    "pystack.debuginfod": ("pystack", "debug_cache", "download"),
    "pystack.diagnosis": ("errors", "process_facts"),
    "pystack.download": (),
    "pystack.errors": (),
    "pystack.idle": ("libraries", "waits"),
    "pystack.launched": ("__main__",),
    "pystack.libraries": (),
    "pystack.locals_options": ("_core",),
    "pystack.model": (
        "pystack",
        "_core",
        "literals",
        "model_frames",
        "model_progress",
        "model_tasks",
        "waits",
    ),
    "pystack.literals": (),
    "pystack.model_frames": ("_core", "literals"),
    "pystack.made_files": ("safe_paths",),
    "pystack.model_progress": (),
    "pystack.model_tasks": ("_core", "literals", "model_frames", "model_progress"),
    "pystack.named_tuple": (),
    "pystack.native_options": ("_core", "debuginfod"),
    "pystack.path_arguments": ("errors",),
    "pystack.process_facts": (),
    "pystack.render": ("_core", "idle", "model", "waits"),
    "pystack.progress": ("model", "model_frames", "model_progress", "process_facts"),
    "pystack.safe_files": ("safe_paths",),
    "pystack.safe_paths": (),
    "pystack.sampling": ("_core",),
    "pystack.sparse_file": ("errors",),
    "pystack.waits": ("_core", "literals"),
}

# What the profiler may import of pystack. Of its own modules each may import those in the rows above.
PROFILER_USES = (
    "pystack",
    "cli",
    "errors",
    "idle",
    "libraries",
    "native_options",
    "process_facts",
    "made_files",
    "render",
    "safe_files",
    "safe_paths",
    "sampling",
    "waits",
)
PROFILER_LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "batch",
        "child_watch",
        "counts",
        "dead_children",
        "fork_events",
        "input_files",
        "interruption",
        "output",
        "process_tree",
        "python_command",
        "quantities",
        "settings",
        "short_paths",
        "snapshot_signal",
        "track",
    ),
    ("contention", "tables", "view"),
    ("wait_words", "window"),
    ("profile",),
    ("grouping", "idle", "naming", "process_recorder", "stats"),
    ("cpu_budget",),
    ("driver",),
    (
        "aggregate",
        "combine",
        "comparison",
        "launched_command",
        "progress",
        "recording_file",
        "task_coverage",
        "time_spans",
        "tree_recording",
        "waits",
    ),
    ("metadata", "page_file", "recorder", "selection_options", "summary"),
    ("report", "started_targets"),
    ("exporters",),
    ("push",),
    ("format_options", "series_options", "sinks"),
    ("destination", "made_file", "recorded_block", "target_options"),
    ("file_series", "record_call"),
    ("ipython_magic", "pytest_session"),
    ("session", "top"),
    (
        "cli",
        "compare_cli",
        "convert_cli",
        "pystack_profiler",
        "pytest_plugin",
        "report_cli",
        "top_cli",
    ),
)

# They hold the layouts, or find out what the version is. All else asks the Layout. (ELF and DWARF
# have versions of their own.)
MAY_COMPARE_VERSIONS = re.compile(r"cpp/cpython/layout/.*|cpp/(elf|modules|unwind|symbols)/.*")
_PART = r"\b(?:major|minor|micro|release_level|version)\b"
_COMPARISON = r"(?:[<>]=?|[=!]=)"
# The formatters put blanks around comparisons, and none around the brackets of templates.
VERSION_COMPARISON = re.compile(
    rf"{_PART}(?:\(\))?\s+{_COMPARISON}\s|\s{_COMPARISON}\s+[*\w.>()-]*{_PART}"
)


def reachable(folder: str) -> set[str]:
    return {folder}.union(*(reachable(below) for below in ARROW[folder]))


def layer_of(file: Path) -> str:
    """The folder of cpp/, one of ARROW, that a file (a path in cpp/) belongs to."""
    for folder in file.parents:
        if str(folder) in ARROW:
            return str(folder)
    return str(file.parent)


def wrong_includes(folder: str, text: str) -> list[str]:
    """The files of cpp/ that a file of `folder` may not include, and does."""
    included = re.findall(r'^\s*#\s*include\s*"([\w./]+/[\w.]+)"', text, re.MULTILINE)
    return [name for name in included if layer_of(Path(name)) not in reachable(folder)]


def version_comparisons(text: str) -> list[str]:
    code = (
        re.sub(r"//.*|(?<!\w)#(?!\s*include).*|\"[^\"]*\"", "", line) for line in text.splitlines()
    )
    return [line.strip() for line in code if VERSION_COMPARISON.search(line)]


def cpp_files() -> list[Path]:
    return sorted(file for file in CPP.rglob("*") if file.suffix in (".h", ".cpp"))


def package_of(file: Path) -> tuple[str, ...]:
    folder = ROOT if file.is_relative_to(ROOT / "pystack") else PROFILER.parent
    return file.relative_to(folder).parts[:-1]


def imports(file: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each import, made absolute: the module, and the names that are taken from it."""
    package = package_of(file)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *([node.module] if node.module else [])))
            yield module, tuple(alias.name for alias in node.names)


def unit_of(module: str) -> str:
    """The module below the top of its package that a dotted name leads to."""
    return ".".join(module.split(".")[:2])


def python_units(top: Path) -> set[str]:
    """What is directly in a package: its own file, modules and packages."""
    names = {file.stem for file in top.glob("*.py")} | {f.parent.name for f in top.glob("*/*.py")}
    return {top.name if name == "__init__" else f"{top.name}.{name}" for name in names}


def imported_units(top: Path) -> dict[str, set[str]]:
    """What each unit of a package imports of pystack and the profiler, apart from itself."""
    known = python_units(ROOT / "pystack") | python_units(PROFILER) | {"pystack._core"}
    found: dict[str, set[str]] = {unit: set() for unit in python_units(top)}
    for file in top.rglob("*.py"):
        parts = (*package_of(file), *([] if file.stem == "__init__" else [file.stem]))
        unit = unit_of(".".join(parts))
        for module, names in imports(file):
            candidates = [f"{module}.{name}" for name in names] or [module]
            for candidate in candidates:
                other = unit_of(candidate)
                other = other if other in known else unit_of(module)
                if other in known and other != unit:
                    found[unit].add(other)
    return found


def test_every_folder_is_in_the_arrow() -> None:
    assert {layer_of(file.relative_to(CPP)) for file in cpp_files()} == set(ARROW)


def test_cmake_links_along_the_arrow() -> None:
    """So that a wrong include does not compile."""
    lists = (CPP / "CMakeLists.txt").read_text()
    layers = re.findall(r"^pystack_layer\(\s*(\S+?)(?:\s+([^)]*))?\)", lists, re.MULTILINE)
    linked = {
        folder: {
            name.removeprefix("pystack_").replace("cpython_", "cpython/")
            for name in arguments.partition("LINKS")[2].split()
            if name.startswith("pystack_") and name != "pystack_compression"
        }
        for folder, arguments in layers
    }
    assert linked == {folder: set(ARROW[folder]) for folder in ARROW if folder != "bindings"}


def test_includes_follow_the_arrow() -> None:
    files = cpp_files()
    assert len(files) > 50
    wrong = {
        str(file.relative_to(ROOT)): found
        for file in files
        if (found := wrong_includes(layer_of(file.relative_to(CPP)), file.read_text()))
    }
    assert not wrong


@pytest.mark.parametrize(
    ("folder", "line", "is_wrong"),
    [
        ("memory", '#include "elf/elf_image.h"', True),
        ("memory", '  #  include "target/target.h"', True),
        ("modules", '#include "unwind/cfi_table.h"', True),
        ("unwind", '#include "symbols/symbolizer.h"', True),
        ("unwind", '#include "cpython/layout/layout.h"', True),
        ("cpython/frames", '#include "modules/native_frame.h"', True),
        ("cpython/frames", '#include "cpython/runtime/runtime_locator.h"', True),
        ("cpython/values", '#include "cpython/runtime/gil_state.h"', True),
        ("merge", '#include "cpython/values/rendering.h"', True),
        ("sampling", '#include "snapshot/capture.h"', True),
        ("snapshot", '#include "sampling/sampler.h"', True),
        ("model", '#include "memory/memory_reader.h"', True),
        ("process", '#include "arch/x86_64/instruction.h"', False),
        ("cpython/values", '#include "cpython/objects/repr_strings.h"', False),
        ("sampling", '#include "process/open_proc_file.h"', False),
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


def test_modules_import_what_they_may() -> None:
    allowed = {
        unit: {other if other == "pystack" else f"pystack.{other}" for other in others}
        for unit, others in MAY_IMPORT.items()
    }
    found = imported_units(ROOT / "pystack")
    assert set(found) == set(allowed)
    for_all = {"pystack.named_tuple"}
    assert not {
        unit: wrong for unit, others in found.items() if (wrong := others - allowed[unit] - for_all)
    }


def test_the_profiler_imports_downwards() -> None:
    layer_of_unit = {
        unit if unit == PROFILER.name else f"{PROFILER.name}.{unit}": number
        for number, units in enumerate(PROFILER_LAYERS)
        for unit in units
    }
    found = imported_units(PROFILER)
    assert set(found) == set(layer_of_unit)
    upwards = [
        f"{unit} imports {other}"
        for unit, others in found.items()
        for other in others
        if other in layer_of_unit and layer_of_unit[other] >= layer_of_unit[unit]
    ]
    assert not upwards
    used = {other for others in found.values() for other in others if other not in layer_of_unit}
    assert used <= {name if name == "pystack" else f"pystack.{name}" for name in PROFILER_USES}


# They draw what they get from the target only as escaped segments; see `top/panes.py`.
SCREEN = ("dialogs.py", "panes.py", "screen.py", "terminal_driver.py")


def test_only_the_screen_imports_textual() -> None:
    importing = {
        file.name
        for file in [*(ROOT / "pystack").rglob("*.py"), *PROFILER.rglob("*.py")]
        for module, _ in imports(file)
        if module.split(".")[0] in ("rich", "textual")
    }
    assert importing == set(SCREEN)
    making_segments = [
        name for name in SCREEN if re.search(r"Segment\(", (PROFILER / "top" / name).read_text())
    ]
    assert making_segments == ["panes.py"]


def test_pystack_does_not_import_the_profiler() -> None:
    """Except by name, when the `record` command is called."""
    importing = [
        file.name
        for file in (ROOT / "pystack").rglob("*.py")
        for module, _ in imports(file)
        if module.split(".")[0] == "pystack_profiler"
    ]
    assert not importing


# Where text may leave for a terminal; every string of a target is escaped there.
MAY_WRITE = ("pystack/cli/screen.py",)
WRITERS = re.compile(
    r"\bprint\(|\becho\(|\bsecho\(|\bstd(?:out|err)\.write|\bprint_exc|\bwarnings\.warn|os\.write\([12],"
)


def test_one_door_leads_to_the_terminal() -> None:
    python = [*(ROOT / "pystack").rglob("*.py"), *PROFILER.rglob("*.py")]
    writing = {
        name: lines
        for file in python
        if (name := str(file.relative_to(ROOT))) not in MAY_WRITE
        and name != "pystack/__init__.py"  # whose docstring has an example
        and (lines := [line for line in file.read_text().splitlines() if WRITERS.search(line)])
    }
    assert not writing


MAX_LINES = 400


def test_no_file_of_product_code_is_long() -> None:
    sources = [
        path
        for folder in (CPP, ROOT / "pystack", PROFILER)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".cpp", ".h", ".def", ".py", ".js", ".css", ".html")
    ]
    lines = {path: len(path.read_text().splitlines()) for path in sources}
    assert len(lines) > 300
    assert not {str(path.relative_to(ROOT)) for path, count in lines.items() if count > MAX_LINES}


DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
]
# `cpp/base/error.h`, `tests/live`; not patterns such as `tests/fuzz/fuzz_NAME.cpp`.
PATH = re.compile(r"`((?:cpp|pystack|profiler|tests|tools|docs|benchmarks)/[\w./-]+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_documents_exist(document: Path) -> None:
    named = {path for path in PATH.findall(document.read_text()) if "NAME" not in path}
    # Units of C++ may be named without their endings.
    missing = [
        path
        for path in named
        if not (ROOT / path).exists() and not list(ROOT.glob(f"{path.rstrip('/')}.*"))
    ]
    assert not missing
