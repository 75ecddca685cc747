#!/usr/bin/env python3
"""Make the target interpreters of the full test matrix that no machine comes with.

Run as root on Debian: `tools/provision_interpreters.py`. What it makes lives outside the checkout,
in `$PYSTACK_TEST_CACHE` (default: `pystack-tests` in the user's cache folder), and is used again
by the next run:

  sid/     a Debian root of the `sid` suite: 3.13, 3.14, 3.15, their debug builds and headers
  3.13t/   the free-threaded build of 3.13, compiled here from Debian's source package
  3.13-musl/  3.13 for musl, stripped and with a shared library, as Alpine's is
  numpy-*  numpy from PyPI, which brings OpenBLAS, for some versions
  greenlet-*  greenlet from PyPI, for some versions
  trio-*      trio and anyio from PyPI

The separate debug files of the root's interpreters are moved to `sid/usr/lib/debug-files`, out of
the place where tools look for them, as real machines have none. `tests/targets.py` mounts them
back for a target that is to have them.

Nothing stays mounted: every mount is made in a namespace that ends with the command that needed
it. Each result is built beside its final place and renamed into it, so a run that was cut
short leaves nothing that looks finished.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# It says where things are; it is no package, since pytest imports it from the tests' own folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import interpreters
from tools import cpython_builds
from tools.debian import (
    download_source,
    in_root,
    install_on_host,
    make_root,
    upstream_archive,
)
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

# Raise it when the steps below change in a way that the lists of packages and options do not show.
RECIPE = 1

SID_VERSIONS = ("3.13", "3.14", "3.15")
SID_PACKAGES = tuple(
    name.format(version)
    for version in SID_VERSIONS
    for name in ("python{}", "python{}-dbg", "libpython{}-dev")
)

# Newest first: a mirror can lack the source of a package that is young in its suite.
SOURCE_SUITES = ("sid", "forky", "trixie")
FREE_THREADED_SOURCE = "python3.13"
FREE_THREADED_OPTIONS = ("--disable-gil", "--without-ensurepip", "--disable-test-modules")
MUSL_SOURCE = "python3.13"
MUSL_OPTIONS = ("--disable-test-modules",)

# The last for 3.8, and one that has wheels for all others.
WHEELS = {
    **{
        ("numpy", minor): "1.24.4" if minor == 8 else "2.3.5" for minor in interpreters.NUMPY_MINORS
    },
    **{
        ("greenlet", minor): "3.1.1" if minor == 8 else "3.2.4"
        for minor in interpreters.GREENLET_MINORS
    },
    **{
        ("trio", minor): {8: "0.22.2", 9: "0.27.0", 10: "0.30.0"}.get(minor, "0.35.0")
        for minor in interpreters.TRIO_MINORS
    },
}

# What is installed with a package.
COMPANIONS = {
    ("trio", minor): (
        "anyio==4.5.2" if minor == 8 else "anyio==4.9.0" if minor < 11 else "anyio==4.16.0",
        "typing_extensions==4.13.2" if minor == 8 else "typing_extensions==4.16.0",
        *("attrs==25.3.0", "idna==3.10", "outcome==1.3.0.post0", "sniffio==1.3.1"),
        *("sortedcontainers==2.4.0", "exceptiongroup==1.3.0"),
    )
    for minor in interpreters.TRIO_MINORS
}

SID_RECIPE = (RECIPE, SID_PACKAGES)
FREE_THREADED_RECIPE = (RECIPE, FREE_THREADED_SOURCE, FREE_THREADED_OPTIONS)
MUSL_RECIPE = (RECIPE, MUSL_SOURCE, MUSL_OPTIONS)

HOST_PACKAGES_FOR_BUILD = (
    "build-essential",
    "xz-utils",
    "libbz2-dev",
    "libffi-dev",
    "liblzma-dev",
    "libsqlite3-dev",
    "libssl-dev",
    "zlib1g-dev",
)


def make_sid_root(steps: Steps) -> None:
    final = interpreters.sid_root()
    install = ("apt-get", "install", "--yes", "--no-install-recommends")
    with workplace(final.with_name(final.name + ".tmp")) as root:
        make_root(steps, root, "sid", ("ca-certificates", "procps"))
        steps.say(f"installing in it: {' '.join(SID_PACKAGES)}")
        steps.run(*in_root(root, "apt-get", "update"))
        steps.run(*in_root(root, *install, *SID_PACKAGES))
        steps.run(*in_root(root, "apt-get", "clean"))

        standard_place = root / "usr/lib/debug"
        standard_place.rename(root / interpreters.sid_debug_files().relative_to(final))
        standard_place.mkdir()

        query = ("dpkg-query", "--show", "--showformat=${Package} ${Version}\n", *SID_PACKAGES)
        lines = output(*OWN_NAMESPACES, *in_root(root, *query)).splitlines()
        write_stamp(root, SID_RECIPE, packages=dict(line.split(" ", 1) for line in lines))
        publish(root, final)


def make_free_threaded(steps: Steps) -> None:
    final = interpreters.free_threaded_prefix()
    install_on_host(steps, HOST_PACKAGES_FOR_BUILD)
    with workplace(final.with_name(final.name + ".tmp")) as work:
        suite, files = download_source(steps, work, FREE_THREADED_SOURCE, SOURCE_SUITES)
        archive = upstream_archive(files)
        steps.say(f"building {archive.name} of {suite} without the GIL")
        source = cpython_builds.unpack(steps, archive, work / "source")
        made = cpython_builds.build(steps, source, final, FREE_THREADED_OPTIONS)
        write_stamp(made, FREE_THREADED_RECIPE, suite=suite, source=archive.name)
        publish(made, final)


def make_musl(steps: Steps) -> None:
    final = interpreters.musl_prefix()
    with workplace(final.with_name(final.name + ".tmp")) as work:
        suite, files = download_source(steps, work, MUSL_SOURCE, SOURCE_SUITES)
        archive = upstream_archive(files)
        steps.say(f"building {archive.name} of {suite} for musl")
        made = cpython_builds.build_for_musl(steps, work, archive, final, MUSL_OPTIONS)
        write_stamp(made, MUSL_RECIPE, suite=suite, source=archive.name)
        publish(made, final)


def wheel_recipe(package: str, minor: int) -> tuple[object, ...]:
    return (RECIPE, WHEELS[package, minor], *COMPANIONS.get((package, minor), ()))


def install_wheel(steps: Steps, package: str, minor: int) -> None:
    final = interpreters.wheel_folder(package, minor)
    release = WHEELS[package, minor]
    companions = COMPANIONS.get((package, minor), ())
    with workplace(final.with_name(final.name + ".tmp")) as made:
        steps.say(f"installing {package} {release} for 3.{minor}")
        options = ("--only-binary=:all:", "--no-deps", f"--python-version=3.{minor}")
        pip = (sys.executable, "-m", "pip", "install", "--target", made, *options)
        steps.run(*pip, f"{package}=={release}", *companions)
        write_stamp(made, wheel_recipe(package, minor))
        publish(made, final)


def main() -> int:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--refresh", action="store_true", help="make anew what the cache has")
    parser.add_argument("--only", help="make only this, as it is called above")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("must run as root: it installs packages and makes a root of its own")

    products: dict[str, tuple[Path, object, Callable[[Steps], None]]] = {
        "sid": (interpreters.sid_root(), SID_RECIPE, make_sid_root),
        "3.13t": (interpreters.free_threaded_prefix(), FREE_THREADED_RECIPE, make_free_threaded),
        "3.13-musl": (interpreters.musl_prefix(), MUSL_RECIPE, make_musl),
    }
    for package, minor in WHEELS:
        folder = interpreters.wheel_folder(package, minor)
        install = functools.partial(install_wheel, package=package, minor=minor)
        products[folder.name] = (folder, wheel_recipe(package, minor), install)
    if arguments.only not in (None, *products):
        parser.error(f"--only takes one of {', '.join(products)}")
    # As an exception, so that what was half made is removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    cache = interpreters.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "provision.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = [
            make
            for name, (place, recipe, make) in products.items()
            if (arguments.only or name) == name
            and (arguments.refresh or not is_current(place, recipe))
        ]
        try:
            if wanted:
                steps = Steps("provision", cache / "provision.log")
                steps.run("apt-get", "update")
                for make in wanted:
                    make(steps)
        except (StepError, subprocess.CalledProcessError) as error:
            print(f"provision: {error}", file=sys.stderr)
            return 1
    print(interpreters.table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
