"""A core that is read where the files of its process are elsewhere, or others, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core_files import (
    core_json,
    failure_of,
    hidden,
    hide_paths,
    need_kernel_cores,
    search_options,
    small_core,
)
from interpreters import required
from targets import Interpreter
from tool_runs import run_tool

pytestmark = pytest.mark.live

# From this version on an interpreter has a table of its own shape.
FIRST_WITH_TABLE = (3, 13)


@dataclass(frozen=True)
class Stranger:
    """A core as another machine sees it: no file that it names is there."""

    interpreter: Interpreter
    core: Path
    truth: dict[str, Any]
    """What is read of it where the files are."""

    @property
    def modules(self) -> list[dict[str, Any]]:
        modules: list[dict[str, Any]] = self.truth["core"]["modules"]
        return modules

    @property
    def binary(self) -> dict[str, Any]:
        """The file that holds the interpreter: a libpython, or the executable."""
        program = self.truth["executable"]
        libraries = [module for module in self.modules if "/libpython" in module["path"]]
        return next(iter(libraries or [one for one in self.modules if one["path"] == program]))


@pytest.fixture(scope="module", params=required(), ids=str)
def stranger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stranger]:
    need_kernel_cores()
    core = small_core(request.param, tmp_path_factory.mktemp("stranger"))
    truth = core_json(core, *search_options(request.param))
    hide_paths(core)
    yield Stranger(request.param, core, truth)
    core.unlink()


def link_files(modules: list[dict[str, Any]], folder: Path) -> None:
    folder.mkdir(parents=True)
    for module in modules:
        (folder / Path(module["path"]).name).symlink_to(module["found_path"])


def stacks(document: dict[str, Any]) -> list[Any]:
    return [
        (one["tid"], one["name"], one["stack_end"], one["frames"]) for one in document["threads"]
    ]


def assert_all_there(stranger: Stranger, document: dict[str, Any], folder: Path) -> None:
    assert stacks(document) == stacks(stranger.truth)
    assert document["version"] == stranger.truth["version"]
    assert document["problems"] == []
    for module, known in zip(document["core"]["modules"], stranger.modules, strict=True):
        assert module["status"] == "found"
        assert module["path"] == hidden(known["path"])
        assert Path(module["found_path"]).is_relative_to(folder)
        assert module["core_build_id"] == module["file_build_id"] == known["core_build_id"]


def test_search_root(stranger: Stranger, tmp_path: Path) -> None:
    """Somewhere below it."""
    folder = tmp_path / "root" / "some" / "where"
    link_files(stranger.modules, folder)
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    document = core_json(stranger.core, "--lib-search-root", tmp_path / "root")
    assert_all_there(stranger, document, folder)


def test_search_path(stranger: Stranger, tmp_path: Path) -> None:
    """In several folders, named together and one by one."""
    link_files(stranger.modules[::3], tmp_path / "a")
    link_files(stranger.modules[1::3], tmp_path / "b")
    link_files(stranger.modules[2::3], tmp_path / "c")
    paths = ["--lib-search-path", f"{tmp_path}/a:{tmp_path}/b", "--lib-search-path", tmp_path / "c"]
    assert_all_there(stranger, core_json(stranger.core, *paths), tmp_path)


def test_executable_under_another_name(stranger: Stranger, tmp_path: Path) -> None:
    program = stranger.truth["executable"]
    main = next(one for one in stranger.modules if one["path"] == program)
    others = [one for one in stranger.modules if one is not main]
    link_files(others, tmp_path / "lib")
    (tmp_path / "renamed").symlink_to(main["found_path"])
    options = [tmp_path / "renamed", "--lib-search-path", tmp_path / "lib"]
    assert_all_there(stranger, core_json(stranger.core, *options), tmp_path)


def assert_read_without_binary(stranger: Stranger, status: str, *options: object) -> None:
    """From 3.13 on, all of it. Below, the same, or a sentence about the file that is wanted."""
    wanted = f"{hidden(stranger.binary['path'])} (build ID {stranger.binary['core_build_id']})"
    found = {"missing": "was not found", "mismatched": "was found only with another build ID"}
    problem = f"{wanted}, which {found[status]}"
    with_table = stranger.interpreter.version >= FIRST_WITH_TABLE
    if run_tool("core", stranger.core, *options).returncode != 0:
        assert not with_table
        code, sentence = failure_of(stranger.core, *options)
        assert code == 1
        assert f"the file {problem}" in sentence
        return
    document = core_json(stranger.core, *options)
    assert stacks(document) == stacks(stranger.truth)
    told = f"the interpreter is {problem}: names of built-in types are unknown"
    version = stranger.truth["version"]
    if with_table:
        assert document["version"] == version
        assert document["problems"] == [told]
    else:
        assert document["version"] == ".".join(version.split(".")[:2])
        assert document["problems"] == [f"{told}, and so is the exact version"]


def test_without_any_file(stranger: Stranger) -> None:
    assert_read_without_binary(stranger, "missing")
    text = run_tool("core", stranger.core).stdout
    if text:
        count = len(stranger.modules)
        assert f"\nMissing: {count} of {count} mapped files: " in text


def test_file_of_another_build(stranger: Stranger, tmp_path: Path) -> None:
    """It is named with both build ids, and not used."""
    others = [one for one in stranger.modules if one is not stranger.binary]
    link_files(others, tmp_path / "lib")
    known = stranger.binary["core_build_id"]
    another = f"{int(known[0], 16) ^ 1:x}{known[1:]}"
    copy = tmp_path / "lib" / Path(stranger.binary["path"]).name
    data = Path(stranger.binary["found_path"]).read_bytes()
    assert data.count(bytes.fromhex(known)) == 1
    copy.write_bytes(data.replace(bytes.fromhex(known), bytes.fromhex(another)))

    options = ["--lib-search-path", tmp_path / "lib"]
    assert_read_without_binary(stranger, "mismatched", *options)
    done = run_tool("core", stranger.core, *options)
    if done.returncode != 0:
        return
    words = (
        f"Warning: {copy} was not used: it has build ID {another}, but the core was written with"
        f" build ID {known}"
    )
    assert words in done.stdout
    document = core_json(stranger.core, *options)
    status = {one["path"]: one["status"] for one in document["core"]["modules"]}
    assert status.pop(hidden(stranger.binary["path"])) == "mismatched"
    assert set(status.values()) == {"found"}
    # All are told of on request, on stderr.
    told = run_tool("core", stranger.core, *options, "-v").stderr
    words = f"mismatched ({copy} has build ID {another}, the core has build ID {known})\n"
    assert words in told
    assert told.count(": found") == len(others)


def test_options_that_exclude_each_other(tmp_path: Path) -> None:
    options = ["--lib-search-root", tmp_path, "--lib-search-path", tmp_path]
    done = run_tool("core", tmp_path / "core", *options)
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


@pytest.mark.parametrize("option", ["--lib-search-root", "--lib-search-path"])
def test_folder_that_is_none(option: str, tmp_path: Path) -> None:
    for path in (tmp_path / "none", Path("/dev/null")):
        assert failure_of(tmp_path / "core", option, path) == (2, f"{path} is not a folder")
