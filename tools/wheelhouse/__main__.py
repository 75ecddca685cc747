"""The command line of `tools/wheels`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

# It is no package, since pytest imports it from the tests' own folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import interpreters
from tools.steps import StepError, Steps, output
from tools.wheelhouse.audit import runs_on
from tools.wheelhouse.builds import ROOT, Recipe, build_sdist, build_wheel, unpack_for_wheels
from tools.wheelhouse.extras import licences, write_extras
from tools.wheelhouse.libraries import built_libraries
from tools.wheelhouse.places import PLACES, verify
from tools.wheelhouse.toolchain import LIBCS, Toolchain

#: The versions that a wheel is made with. The one of 3.12 is for all later ones, too.
PYTHONS = ("3.10", "3.11", "3.12")
_MAX_WHEEL_BYTES = 3_000_000


def main() -> int:
    names = [f"{python}-{libc.name}" for libc in LIBCS for python in PYTHONS]
    parser = argparse.ArgumentParser(prog="tools/wheels", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, help="make only this wheel")
    parser.add_argument("--folder", type=Path, default=ROOT / "dist", help="default: dist")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="make nothing; install what the folder has where it should run, and try it (as root)",
    )
    parser.add_argument("--place", action="append", choices=PLACES, help="verify only there")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    steps = Steps("wheels", cache / ("verify.log" if arguments.verify else "wheels.log"))
    # Everything that has a date has that of the commit.
    commit_time = ("git", "-C", str(ROOT), "log", "-1", "--format=%ct")
    os.environ.setdefault("SOURCE_DATE_EPOCH", output(*commit_time).strip())
    try:
        if arguments.verify:
            verify(steps, cache, folder, arguments.place or list(PLACES))
        else:
            make(steps, cache, folder, arguments.only or names)
    except (StepError, subprocess.CalledProcessError) as error:
        print(f"wheels: {error}", file=sys.stderr)
        return 1
    return 0


def cache_folder() -> Path:
    """$PYSTACK_WHEEL_CACHE, or a folder in the user's cache folder."""
    configured = os.environ.get("PYSTACK_WHEEL_CACHE")
    if configured:
        return Path(configured).resolve()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches.resolve() / "pystack-wheels"


def make(steps: Steps, cache: Path, folder: Path, names: list[str]) -> None:
    sdist = build_sdist(steps, folder)
    steps.say(f"made {sdist}")
    extras = cache / "extras"
    write_extras(steps, cache, extras)
    for libc in LIBCS:
        pythons = [python for python in PYTHONS if f"{python}-{libc.name}" in names]
        if not pythons:
            continue
        toolchain = Toolchain(steps, cache, libc)
        libraries = built_libraries(steps, cache, toolchain)
        source = cache / "source"
        unpack_for_wheels(sdist, source, licences(toolchain, libraries))
        recipe = Recipe(toolchain, libraries, extras)
        for python in pythons:
            wheel = build_wheel(steps, cache, recipe, interpreter(python), source, folder)
            size = wheel.stat().st_size
            steps.say(f"made {wheel}, {size / 1e6:.2f} MB")
            if size > _MAX_WHEEL_BYTES:
                raise StepError(f"{wheel.name} is larger than {_MAX_WHEEL_BYTES / 1e6:.0f} MB")
            options = toolchain.audit_options(steps)
            audited = output(sys.executable, "-m", "auditwheel", "show", *options, str(wheel))
            if not runs_on(audited, libc.platform_tag):
                raise StepError(f"{wheel.name} does not run everywhere:\n{audited}")


def interpreter(version: str) -> Path:
    """One of this version with headers. Its C library does not matter."""
    for found in interpreters.available():
        executable = found.host_executable
        if found.root is None and executable.name == f"python{version}":
            place = "import sysconfig; print(sysconfig.get_path('include'))"
            header = Path(output(str(executable), "-c", place).strip(), "pyconfig.h")
            # That of Debian includes another one from a folder of the system's C library.
            if header.exists() and f"/python{version}/pyconfig.h" not in header.read_text():
                return executable
    raise StepError(f"this machine has no python{version} with headers, such as pyenv makes")


if __name__ == "__main__":
    raise SystemExit(main())
