"""The sdist, and wheels that scikit-build-core makes from it with our compiler and libraries."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tools.steps import StepError, Steps, is_current, workplace, write_stamp
from tools.wheelhouse.toolchain import Toolchain

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
_BUILD_PACKAGES = ("nanobind", "scikit-build-core")
_LICENCE_LINE = 'license-files = ["LICENSE"]'
# One file: the order of several in a wheel would be that of the file system.
_LIBRARY_LICENCES = "LICENSE.libraries"
_BUILD_SDIST = (
    "import sys; from scikit_build_core.build import build_sdist; print(build_sdist(sys.argv[1]))"
)


@dataclass(frozen=True)
class Recipe:
    """How wheels of one C library are made."""

    toolchain: Toolchain
    libraries: Path  # with `include` and `lib`
    extras: Path  # see extras.py


def build_sdist(steps: Steps, folder: Path) -> Path:
    """Writes the sdist into the folder. Its bytes depend on the sources and SOURCE_DATE_EPOCH only."""
    with workplace(folder / "sdist.tmp") as work:
        steps.run(sys.executable, "-c", _BUILD_SDIST, work, cwd=ROOT)
        made = next(work.glob("*.tar.gz"))
        return made.replace(folder / made.name)


def unpack_for_wheels(sdist: Path, folder: Path, licences: str) -> None:
    """Makes the folder the source tree of wheels: the sdist, and the licences of what is linked statically.

    Files whose content is the same stay untouched, so only what changed is compiled again.
    """
    with workplace(folder.with_name(folder.name + ".tmp")) as work:
        with tarfile.open(sdist) as archive:
            archive.extractall(work, filter="data")
        (top,) = work.iterdir()
        (top / _LIBRARY_LICENCES).write_text(licences)
        configuration = (top / "pyproject.toml").read_text()
        if _LICENCE_LINE not in configuration:
            raise StepError(f"pyproject.toml has no line {_LICENCE_LINE}")
        line = _LICENCE_LINE.replace('"]', f'", "{_LIBRARY_LICENCES}"]')
        (top / "pyproject.toml").write_text(configuration.replace(_LICENCE_LINE, line))
        _synchronise(top, folder)


def build_wheel(
    steps: Steps, cache: Path, recipe: Recipe, python: Path, source: Path, folder: Path
) -> Path:
    """Makes the wheel for the version of `python`, writes it into the folder and returns its path.

    Its bytes depend on the sources, the toolchain and SOURCE_DATE_EPOCH only.
    """
    libc = recipe.toolchain.libc
    version = python.name.removeprefix("python")
    environment_python = _build_environment(steps, cache, python)
    tools = Path(sys.executable).parent  # of cmake and ninja, the same for all versions
    paths = recipe.toolchain.path_options(source)
    variables = {
        **recipe.toolchain.environment(),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "CXXFLAGS": paths,
        "CMAKE_ARGS": " ".join(f"-D{name}={value}" for name, value in _cmake(recipe).items()),
        # scikit-build-core waits longer for CMake to say its version.
        "CI": "true",
        # It names the extension after this.
        "SETUPTOOLS_EXT_SUFFIX": f".cpython-{version.replace('.', '')}-{libc.platform}.so",
    }
    # All versions share the objects that do not depend on Python. Its place is found anew.
    build = cache / f"build-{libc.name}"
    (build / "CMakeCache.txt").unlink(missing_ok=True)
    jobs = os.environ.get("PYSTACK_WHEEL_JOBS", str(os.cpu_count() or 1))
    with workplace(folder / "wheel.tmp") as work:
        steps.say(f"compiling for Python {version} and {libc.name}")
        steps.run(
            *(environment_python, "-m", "pip", "wheel", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--verbose", "--wheel-dir", work),
            *("--config-settings", f"build-dir={build}"),
            *("--config-settings", f"build.tool-args=-j{jobs}"),
            # Names the wheel. As a variable of this process, it would confuse what it thinks of the ABI.
            *("--config-settings", f"env._PYTHON_HOST_PLATFORM={libc.platform_tag}", source),
            environment=variables,
        )
        made = next(work.glob("*.whl"))
        return made.replace(folder / made.name)


def _cmake(recipe: Recipe) -> dict[str, Path | str]:
    include, lib = recipe.libraries / "include", recipe.libraries / "lib"
    libraries = {"LZMA": "liblzma.a", "ZLIB": "libz.a", "ZSTD": "libzstd.a"}
    return {
        "CMAKE_AR": recipe.toolchain["ar"],
        "CMAKE_RANLIB": recipe.toolchain["ranlib"],
        **{f"COMPRESSION_{name}": lib / file for name, file in libraries.items()},
        **{f"COMPRESSION_{name}_INCLUDE_DIR": include for name in libraries},
        "PYSTACK_EXTRAS": recipe.extras,
        # A third of the time; builds with g++ see includes that are missing.
        "PYSTACK_PRECOMPILE": "ON",
    }


def _build_environment(steps: Steps, cache: Path, python: Path) -> Path:
    """The interpreter of a virtual environment with what builds wheels."""
    final = cache / f"venv-{python.name}"
    recipe = (_BUILD_PACKAGES, CONSTRAINTS.read_text(), str(python))
    if not is_current(final, recipe):
        # Not renamed into place: scripts of an environment have its path.
        shutil.rmtree(final, ignore_errors=True)
        steps.run(python, "-m", "venv", final)
        pip = (final / "bin/python", "-m", "pip", "install", "--quiet")
        steps.run(*pip, "--constraint", CONSTRAINTS, *_BUILD_PACKAGES)
        write_stamp(final, recipe)
    return final / "bin/python"


def _synchronise(new: Path, folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
    wanted = {file.relative_to(new): file for file in new.rglob("*") if file.is_file()}
    for file in [*folder.rglob("*")]:
        if file.is_file() and file.relative_to(folder) not in wanted:
            file.unlink()
    for name, file in wanted.items():
        old = folder / name
        if not old.exists() or old.read_bytes() != file.read_bytes():
            old.parent.mkdir(parents=True, exist_ok=True)
            file.replace(old)
