"""Tries wheels where they should run: Debian roots without a compiler, and interpreters of this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import interpreters
from tools import cpython_builds
from tools.debian import download_source, in_root, make_root, upstream_archive
from tools.steps import (
    OWN_NAMESPACES,
    StepError,
    Steps,
    is_current,
    output,
    publish,
    workplace,
    write_stamp,
)

_TRIAL = Path(__file__).with_name("trial.sh")
# Where all folders belong to root, as the launcher demands, and setpriv is there.
_LAUNCHER_TRIAL = Path(__file__).with_name("launcher_trial.sh")
_RECIPE = 1
_SYSTEM_PYTHON = ("ca-certificates", "python3", "python3-venv")
# bullseye has Python 3.9. A newer one is compiled in a root with a compiler, and tried in one without.
_OLD_SUITE = "bullseye"
_OLD_SUITE_LIBRARIES = ("ca-certificates", "libffi7", "libsqlite3-0", "libssl1.1", "zlib1g")
_OLD_SUITE_BUILD = ("build-essential", "libffi-dev", "libsqlite3-dev", "libssl-dev", "zlib1g-dev")
_OLD_SUITE_SOURCE = ("python3.11", "bookworm")
_OLD_SUITE_PREFIX = Path("/opt/python3.11")
# Of the test matrix. Each is read from the other, too.
_GNU = "3.10-pyenv"
_MUSL = "3.13-musl"


@dataclass(frozen=True)
class Place:
    """An interpreter for which there is a wheel."""

    name: str
    wheel: str  # a pattern of its name
    version: str
    python: Path
    root: Path | None = None
    other: Path | None = None  # an interpreter for another C library, whose processes are read too


def verify(steps: Steps, cache: Path, folder: Path, names: list[str]) -> None:
    """Installs the wheels of the folder in these places and uses them. Raises StepError if one fails."""
    for name in names:
        steps.say(f"{name}: preparing")
        place = PLACES[name](steps, cache, name)
        _try(steps, cache, folder, place)


def _try(steps: Steps, cache: Path, folder: Path, place: Place) -> None:
    found = sorted(folder.glob(place.wheel))
    if len(found) != 1:
        raise StepError(f"{folder} has {len(found)} wheels {place.wheel}, not one")
    inside = place.root or cache / "trials"
    with workplace(inside / "trial") as trial:
        shutil.copy(found[0], trial)
        (trial / "work").mkdir()
        _download_dependencies(steps, trial, place.version, is_musl="musl" in place.wheel)
        steps.say(f"{place.name}: installing and running {found[0].name}")
        seen = Path("/trial") if place.root else trial
        for script in (_TRIAL, _LAUNCHER_TRIAL) if place.root else (_TRIAL,):
            shutil.copy(script, trial)
            other = () if place.other is None else (str(place.other),)
            command = ("sh", str(seen / script.name), str(place.python), str(seen), *other)
            entered = in_root(place.root, *command) if place.root else command
            for line in steps.lines(*entered):
                steps.say(f"{place.name}: {line}")


def _download_dependencies(steps: Steps, folder: Path, version: str, *, is_musl: bool) -> None:
    tags = ("musllinux_1_1", "musllinux_1_2") if is_musl else ("manylinux_2_17", "manylinux_2_28")
    platforms = [f"--platform={tag}_x86_64" for tag in tags]
    zstd = () if int(version.partition(".")[2]) >= 14 else ("backports.zstd",)
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:")
    where = (f"--dest={folder}", f"--python-version={version}", *platforms)
    steps.run(*pip, *where, "click", *zstd)


def _system_python(steps: Steps, cache: Path, suite: str) -> Place:
    root = _root(steps, cache, suite, _SYSTEM_PYTHON)
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    enter = in_root(root, "python3", "-c", asked)
    version = output(*OWN_NAMESPACES, *enter).strip()
    tag = version.replace(".", "") if int(version.partition(".")[2]) < 12 else "312-abi3"
    return Place(suite, f"*-cp{tag}-*manylinux*.whl", version, Path("/usr/bin/python3"), root)


def _old_suite(steps: Steps, cache: Path, suite: str) -> Place:
    root = _root(steps, cache, suite, _OLD_SUITE_LIBRARIES)
    python = _OLD_SUITE_PREFIX / "bin/python3.11"
    if not (root / python.relative_to("/")).exists():
        _compile_in_root(steps, cache, root, suite)
    return Place(suite, "*-cp311-cp311-manylinux*.whl", "3.11", python, root)


def _compile_in_root(steps: Steps, cache: Path, root: Path, suite: str) -> None:
    package, source_suite = _OLD_SUITE_SOURCE
    with workplace(cache / f"root-{suite}-build") as build_root:
        make_root(steps, build_root, suite, (*_OLD_SUITE_LIBRARIES, *_OLD_SUITE_BUILD))
        work = build_root / "work"
        _, files = download_source(steps, work, package, (source_suite,))
        source = cpython_builds.unpack(steps, upstream_archive(files), work / "source")
        steps.say(f"{suite}: compiling {package}")
        options = ("--disable-test-modules",)
        made = cpython_builds.build(steps, source, _OLD_SUITE_PREFIX, options, root=build_root)
        shutil.copytree(made, root / _OLD_SUITE_PREFIX.relative_to("/"), symlinks=True)


def _root(steps: Steps, cache: Path, suite: str, packages: tuple[str, ...]) -> Path:
    """A root with these packages, made if it is not there."""
    final = cache / f"root-{suite}"
    recipe = (_RECIPE, packages)
    if not is_current(final, recipe):
        with workplace(final.with_name(final.name + ".tmp")) as root:
            make_root(steps, root, suite, packages)
            write_stamp(root, recipe)
            publish(root, final)
    return final


def _of_the_matrix(steps: Steps, cache: Path, name: str) -> Place:
    """An interpreter of the test matrix, which tools/provision_interpreters.py makes."""
    found = {one.name: one for one in interpreters.everything()}
    for needed in (_GNU, _MUSL):
        if needed not in found:
            raise StepError(f"there is no {needed}; see tools/provision_interpreters.py --help")
    python = found[name]
    version = "{}.{}".format(*python.version[:2])
    wheel = "*-cp312-abi3-musllinux*.whl" if python.musl else "*-cp310-cp310-manylinux*.whl"
    other = found[_GNU if python.musl else _MUSL].host_executable
    return Place(name, wheel, version, python.host_executable, other=other)


PLACES: dict[str, Callable[[Steps, Path, str], Place]] = {
    "bullseye": _old_suite,
    "bookworm": _system_python,
    "sid": _system_python,
    _GNU: _of_the_matrix,
    _MUSL: _of_the_matrix,
}
