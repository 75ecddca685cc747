"""`pystack dump` must not pay for what it does not use, and must end well with real pipes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pystack
from raw_snapshots import raw_core, raw_snapshot, raw_thread

# The package's parent: the tests also run against an installed copy.
PATH = str(Path(pystack.__file__).parents[1])

# What a dump imports besides pystack itself: everything else costs more than it is worth. Some of it is there
# when the interpreter has started, in some versions.
STANDARD_MODULES = {
    "__future__",
    *("genericpath", "os", "os.path", "posixpath", "stat"),  # of `site`
    "bisect",
    "collections",
    "collections.abc",
    "contextlib",
    "enum",
    "functools",
    "itertools",
    "keyword",
    "operator",
    "reprlib",
    "signal",
    "time",
    "types",
}
NOT_FOR_DUMPS = {
    "pystack.cli.click_commands",
    "pystack.cli.doctor",
    "pystack.cli.failures",
    "pystack.cli.group",
    "pystack.core_unpack",
    "pystack.diagnosis",
    "pystack.process_facts",
    "pystack.render.json",
    "pystack.render.tasks_text",
}

# As text, so that the process imports nothing for it.
_THREADS = [raw_thread(tid, name="x" * 5000) for tid in range(200)]
DUMP = (
    f"live = {raw_snapshot(*_THREADS)}\nraw_core = {raw_core()}"
    + """
import sys, types
core = types.ModuleType("pystack._core")
sys.modules["pystack._core"] = core
core.dump_live = lambda pid, **options: live
class NoFiles:
    def open(self, path): raise FileNotFoundError
core.process_files = core.core_files = lambda *whose: NoFiles()
core.dump_core = lambda path, **options: {**live, "core": raw_core}
before = set(sys.modules)
from pystack.cli import main
"""
)


def run(code: str, *arguments: str, stdout: Any = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        # Without `site`, which may import a lot.
        [sys.executable, "-S", "-", *arguments],
        input=code,
        env={**os.environ, "PYTHONPATH": PATH},
        text=True,
        stderr=subprocess.PIPE,
        check=False,
        stdout=stdout,
    )


def modules_of(code: str) -> set[str]:
    code += "\nimport sys\nprint('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": PATH},
        text=True,
        check=True,
        stdout=subprocess.PIPE,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("arguments", [("dump", "1"), ("core", "/proc/self/exe")])
def test_commands_import_only_what_they_need(arguments: tuple[str, str]) -> None:
    dump = DUMP + "\nassert main() == 0"
    result = run(
        dump + "\nprint('\\n'.join(sorted(set(sys.modules) - before)), file=sys.stderr)",
        *arguments,
        stdout=subprocess.DEVNULL,
    )
    assert result.returncode == 0, result.stderr
    loaded = set(result.stderr.split())
    assert "pystack.render.text" in loaded
    assert {name for name in loaded if name in NOT_FOR_DUMPS} == set()
    others = {name for name in loaded if name.split(".")[0] != "pystack" and name[0] != "_"}
    implementation = re.compile(r"(importlib|collections)[._]\w+")
    assert {name for name in others if not implementation.fullmatch(name)} <= STANDARD_MODULES


def test_a_recording_begins_without_exporters() -> None:
    loaded = modules_of("import pystack_profiler.cli")
    assert "pystack_profiler.session" in loaded
    exporters = {name for name in loaded if name.startswith("pystack_profiler.exporters")}
    assert exporters == {"pystack_profiler.exporters"}
    assert "sqlite3" not in loaded


def test_import_of_the_package_is_cheap() -> None:
    ours = {name for name in modules_of("import pystack") if name.startswith("pystack")}
    assert ours == {"pystack"}


def test_reader_that_leaves() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = run(DUMP + "sys.exit(main())", "dump", "1", "--full", "--no-group", stdout=writer)
    os.close(writer)
    assert result.stderr == ""
    assert result.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk() -> None:
    with open("/dev/full", "w") as full:
        result = run(DUMP + "sys.exit(main())", "dump", "1", stdout=full)
    assert result.returncode == 1
    assert result.stderr == "pystack: cannot read or write: No space left on device.\n"


def test_output_fits_any_encoding() -> None:
    code = (
        f"raw = {raw_snapshot(raw_thread(name='名前'))}\n"
        + DUMP
        + ("core.dump_live = lambda pid, **options: raw\nsys.exit(main())")
    )
    result = subprocess.run(
        [sys.executable, "-", "dump", "1"],
        input=code.encode(),
        env={**os.environ, "PYTHONPATH": PATH, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b'"\\u540d\\u524d"' in result.stdout


def test_json_through_a_pipe() -> None:
    result = run(DUMP + "sys.exit(main())", "dump", "1", "--json", stdout=subprocess.PIPE)
    assert len(json.loads(result.stdout)["threads"]) == 200
