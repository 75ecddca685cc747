#!/usr/bin/env python3
"""Make the target interpreters of the full test matrix that no machine comes with.

Run as root on Debian: `tools/provision_interpreters.py`. What it makes lives outside the checkout,
in `$PYSTACK_TEST_CACHE` (default: `pystack-tests` in the user's cache folder), and is used again
by the next run:

  sid/     a Debian root of the `sid` suite: 3.13, 3.14, 3.15, their debug builds and headers
  3.13t/   the free-threaded build of 3.13, compiled here from Debian's source package
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
import contextlib
import fcntl
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# It says where things are; it is no package, since pytest imports it from the tests' own folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import interpreters

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

HOST_PACKAGES_FOR_ROOT = ("debootstrap", "debian-archive-keyring")
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

# Which of the host's apt settings a root needs to reach the same mirror in the same way.
APT_SETTINGS = (
    "http::",
    "https::",
    "Check-Date",
    "Check-Valid-Until",
    "ForceIPv",
    "Languages",
    "Retries",
)

OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")


class ProvisionError(Exception):
    """A step failed; the message says which, and where its output is."""


class Steps:
    """Runs commands, their output going to a log file of which the end is shown if one fails.

    Each has its own namespaces of mounts and pids, so with it end its mounts and all it started,
    even if this program is interrupted.
    """

    def __init__(self, log: Path) -> None:
        self._log = log

    def say(self, text: str) -> None:
        print(f"provision: {text}", file=sys.stderr, flush=True)

    def run(self, *command: str | Path, cwd: Path | None = None) -> None:
        argv = [*OWN_NAMESPACES, *(str(word) for word in command)]
        with self._log.open("a") as log:
            print("+", *command, file=log, flush=True)
            done = subprocess.run(
                argv,
                check=False,
                cwd=cwd,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if done.returncode != 0:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])
            raise ProvisionError(
                f"{command[0]} ended with status {done.returncode}; the end of {self._log}:\n{tail}"
            )


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def in_root(root: Path, *command: str) -> list[str]:
    return [
        "sh",
        "-c",
        'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"',
        str(root),
        *command,
    ]


def write_stamp(place: Path, recipe: object, **what: object) -> None:
    stamp = {"recipe": repr(recipe), **what}
    (place / interpreters.STAMP_NAME).write_text(json.dumps(stamp, indent=1))


def is_current(place: Path, recipe: object) -> bool:
    """Whether `place` was finished, and by the same recipe."""
    try:
        stamp = json.loads((place / interpreters.STAMP_NAME).read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp["recipe"] == repr(recipe))


def remove_tree(path: Path) -> None:
    """Like `rm -rf`, but not through a mount: behind it could be the host's own files."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [mount for mount in mounts if Path(mount).is_relative_to(path)]
    if inside:
        raise ProvisionError(f"not removing {path}: something is mounted at {inside[0]}")
    if path.exists():
        shutil.rmtree(path)


@contextlib.contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards, whether the work failed or renamed it."""
    remove_tree(path)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        remove_tree(path)


def publish(made: Path, final: Path) -> None:
    """Put `made` where `final` is. Processes that run out of the old folder keep their files."""
    old = final.with_name(final.name + ".old")
    remove_tree(old)
    if final.exists():
        final.rename(old)
    made.rename(final)
    remove_tree(old)


def install_on_host(steps: Steps, packages: tuple[str, ...]) -> None:
    def installed(package: str) -> bool:
        query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
        done = subprocess.run(
            query, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return done.stdout == "installed"

    missing = [package for package in packages if not installed(package)]
    if missing:
        steps.say(f"installing on this machine: {' '.join(missing)}")
        steps.run("apt-get", "install", "--yes", "--no-install-recommends", *missing)


def debian_mirror() -> str:
    """The mirror that this machine's apt uses for Debian, so that no address is needed here."""
    fields = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    targets = output("apt-get", "indextargets", "--format", fields, "Created-By: Packages")
    for line in targets.splitlines():
        origin, label, address = line.split("|", 2)
        if origin == label == "Debian":
            return address
    raise ProvisionError(
        "apt on this machine knows no Debian mirror (is this Debian, and did apt-get update work?)"
    )


def make_sid_root(steps: Steps) -> None:
    final = interpreters.sid_root()
    install_on_host(steps, HOST_PACKAGES_FOR_ROOT)
    mirror = debian_mirror()
    install = ("apt-get", "install", "--yes", "--no-install-recommends")
    with workplace(final.with_name(final.name + ".tmp")) as root:
        steps.say("debootstrap of sid")
        options = ("--variant=minbase", "--include=ca-certificates,procps")
        steps.run("debootstrap", *options, "sid", root, mirror)
        copy_host_settings(root)
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


def copy_host_settings(root: Path) -> None:
    for name in (Path("etc/resolv.conf"), Path("etc/hosts"), CERTIFICATES):
        if (Path("/") / name).exists():
            shutil.copyfile(Path("/") / name, root / name)
    wanted = tuple(f"Acquire::{name}" for name in APT_SETTINGS)
    settings = output("apt-config", "dump").splitlines(keepends=True)
    kept = "".join(line for line in settings if line.startswith(wanted))
    (root / "etc/apt/apt.conf.d/99host").write_text(kept)


def make_free_threaded(steps: Steps) -> None:
    final = interpreters.free_threaded_prefix()
    install_on_host(steps, HOST_PACKAGES_FOR_BUILD)
    with workplace(final.with_name(final.name + ".tmp")) as work:
        suite, archive = download_source(steps, work)
        steps.say(f"building {archive.name} of {suite} without the GIL")
        source = work / "source"
        source.mkdir()
        steps.run("tar", "--extract", "--strip-components=1", "--file", archive, cwd=source)
        steps.run("nice", "./configure", f"--prefix={final}", *FREE_THREADED_OPTIONS, cwd=source)
        steps.run("nice", "make", f"-j{os.cpu_count() or 1}", cwd=source)
        destination = work / "destination"
        steps.run("nice", "make", "install", f"DESTDIR={destination}", cwd=source)

        made = destination / final.relative_to("/")
        write_stamp(made, FREE_THREADED_RECIPE, suite=suite, source=archive.name)
        publish(made, final)


def download_source(steps: Steps, work: Path) -> tuple[str, Path]:
    """The suite and the archive. apt gets sources of its own, the machine's stay as they are."""
    mirror = debian_mirror()
    for suite in SOURCE_SUITES:
        place = work / f"apt-{suite}"
        for name in ("lists/partial", "cache/archives/partial", "download"):
            (place / name).mkdir(parents=True)
        sources = place / "suite.list"
        sources.write_text(f"deb-src [signed-by={KEYRING}] {mirror} {suite} main\n")
        options = {
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": place / "lists",
            "Dir::Cache": place / "cache",
            # apt's own user may not write into a folder of root.
            "APT::Sandbox::User": "root",
        }
        apt_get = ["apt-get", *(f"--option={key}={value}" for key, value in options.items())]
        fetch = ("source", "--download-only", FREE_THREADED_SOURCE)
        try:
            steps.run(*apt_get, "update")
            steps.run(*apt_get, *fetch, cwd=place / "download")
        except ProvisionError:
            steps.say(f"no source of {FREE_THREADED_SOURCE} to be had from {suite}")
            continue
        # The archive's signature (.asc) lies beside it.
        files = (place / "download").glob("*.orig.tar.*")
        return suite, next(file for file in files if file.suffix != ".asc")
    raise ProvisionError(f"no source of {FREE_THREADED_SOURCE} in {', '.join(SOURCE_SUITES)}")


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
            if arguments.only in (None, name)
            and (arguments.refresh or not is_current(place, recipe))
        ]
        try:
            if wanted:
                log = cache / "provision.log"
                log.write_text("")
                steps = Steps(log)
                steps.run("apt-get", "update")
                for make in wanted:
                    make(steps)
        except (ProvisionError, subprocess.CalledProcessError) as error:
            print(f"provision: {error}", file=sys.stderr)
            return 1
    print(interpreters.table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
