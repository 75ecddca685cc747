"""Which target interpreters this machine has: the one place that knows.

    for interpreter in required():
        with interpreter.spawn(["-c", "import time; time.sleep(60)"]) as target:
            dump(target.pid)

`available()` finds what the machine has. Where PYSTACK_FULL_MATRIX=1 (CI), `required()` raises
unless every name of FULL_MATRIX is there; `tools/provision_interpreters.py` makes those that no
machine comes with. Run this file as a program to see what is found. The ways to start one, and
what differs between them, are told in `targets.py`.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from targets import Interpreter, target_environment

FULL_MATRIX_VARIABLE = "PYSTACK_FULL_MATRIX"
STAMP_NAME = "provisioned.json"  # as in tools/steps.py

OLDEST_MINOR = 6  # the oldest 3.x that pystack reads
SID_MINORS = (13, 14, 15)
SID_JIT_MINORS = (14, 15)
FULL_MATRIX = (
    *(f"3.{minor}-pyenv" for minor in range(6, 14)),
    "3.11-debian",
    *(f"3.{minor}-debian-sid" for minor in SID_MINORS),
    *(f"3.{minor}d-debian-sid" for minor in SID_MINORS),
    *(f"3.{minor}-debian-sid-jit" for minor in SID_JIT_MINORS),
    "3.13t",
    "3.13-musl",
)
#: The versions of Python for which there is a numpy, see `numpy_folder`.
NUMPY_MINORS = (8, 11, 13, 14)
#: The same, for greenlet.
GREENLET_MINORS = (8, 10, 11, 12, 13, 14)
#: And for trio and anyio: of the oldest versions, older ones.
TRIO_MINORS = (8, 9, 10, 11, 12, 13, 14, 15)

# Must run on 3.6. `abiflags` has "d" for a debug build and "t" for a free-threaded one.
PROBE = """
import json, sys
jit = getattr(sys, "_jit", None)
with open("/proc/self/maps") as maps:
    mapped = {line.split(None, 5)[5].strip() for line in maps if "/" in line}
print(json.dumps({
    "version": sys.version_info[:3], "abiflags": sys.abiflags,
    "libraries": sorted(path for path in mapped if "libpython" in path),
    "jit": jit is not None and jit.is_available(),
    "musl": any("ld-musl" in path or path.endswith("/libc.so") for path in mapped),
}))
"""
# Answers to an older probe are asked anew. Raise it with each change above.
PROBE_VERSION = 2


class MissingInterpretersError(Exception):
    """The full matrix is asked for and this machine lacks a part of it."""


def cache_dir() -> Path:
    configured = os.environ.get("PYSTACK_TEST_CACHE")
    if configured:
        return Path(configured).resolve()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches.resolve() / "pystack-tests"


def sid_root() -> Path:
    return cache_dir() / "sid"


def sid_debug_files() -> Path:
    return sid_root() / "usr/lib/debug-files"


def free_threaded_prefix() -> Path:
    return cache_dir() / "3.13t"


def musl_prefix() -> Path:
    return cache_dir() / "3.13-musl"


def numpy_folder(minor: int) -> Path:
    """For `sys.path`: numpy from PyPI with its OpenBLAS. There if it was provisioned."""
    return wheel_folder("numpy", minor)


def wheel_folder(package: str, minor: int) -> Path:
    """For `sys.path`: a package from PyPI. There if it was provisioned."""
    return cache_dir() / f"{package}-3.{minor}"


def available() -> tuple[Interpreter, ...]:
    """Every interpreter found for glibc, by version. At least the one that runs this."""
    return tuple(one for one in everything() if not one.musl)


@functools.cache
def everything() -> tuple[Interpreter, ...]:
    """Those for musl, too. They cannot load what is compiled for the machine, and do not have all modules."""
    probes = ProbeCache(cache_dir() / "interpreters.json")
    found = [interpreter for interpreter in search(probes) if interpreter is not None]
    own = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    if all(own != interpreter.host_executable.resolve() for interpreter in found):
        current = describe(probes, own, "{}-current")
        assert current is not None, f"{own} runs this and cannot be run"
        found.append(current)
    probes.save()
    return tuple(sorted(found, key=lambda interpreter: (interpreter.version, interpreter.name)))


def required(*, musl: bool = False) -> tuple[Interpreter, ...]:
    """What tests run against: `available()`, which must be the full matrix if that is asked for.

    With `musl`, `everything()`.
    """
    if os.environ.get(FULL_MATRIX_VARIABLE) == "1" and missing():
        raise MissingInterpretersError(
            f"{FULL_MATRIX_VARIABLE}=1, but there is no {', '.join(missing())}"
            " (tools/provision_interpreters.py makes those that the machine does not come with)"
        )
    return everything() if musl else available()


def with_greenlets() -> list[Interpreter]:
    """Those that there is a greenlet for: the wheels are for the usual ABI."""
    return [
        one
        for one in required()
        if one.version[1] in GREENLET_MINORS
        and not one.debug
        and not one.free_threaded
        and not one.jit
    ]


def missing() -> list[str]:
    """The names of the full matrix that this machine lacks."""
    names = {interpreter.name for interpreter in everything()}
    return [name for name in FULL_MATRIX if name not in names]


def by_name(name: str) -> Interpreter:
    return {interpreter.name: interpreter for interpreter in everything()}[name]


def search(probes: ProbeCache) -> Iterator[Interpreter | None]:
    for executable in pyenv_executables():
        yield describe(probes, executable, "{}-pyenv")

    for folder, suffix in (("/usr/bin", distribution()), ("/usr/local/bin", "local")):
        for executable in sorted(Path(folder).glob("python3.*")):
            if re.fullmatch(r"python3\.\d+t?", executable.name):
                yield describe(probes, executable, f"{{}}-{suffix}")

    if (free_threaded_prefix() / STAMP_NAME).exists():
        yield describe(probes, free_threaded_prefix() / "bin/python3.13t", "{}")
    if (musl_prefix() / STAMP_NAME).exists():
        yield describe(probes, musl_prefix() / "bin/python3.13", "{}-musl")

    # Entering a root takes mounts, and those take the rights of root.
    if os.geteuid() == 0 and (sid_root() / STAMP_NAME).exists():
        for minor in SID_MINORS:
            for build in ("", "d"):
                executable = Path(f"/usr/bin/python3.{minor}{build}")
                yield describe(probes, executable, "{}-debian-sid", root=sid_root())
            if minor in SID_JIT_MINORS:
                executable = Path(f"/usr/bin/python3.{minor}")
                yield describe(probes, executable, "{}-debian-sid-jit", root=sid_root(), jit=True)


def distribution() -> str:
    try:
        return platform.freedesktop_os_release()["ID"]
    except OSError:
        return "system"


def pyenv_executables() -> list[Path]:
    """The latest patch release of each minor version, free-threaded ones counted apart."""
    releases = []
    for folder in (pyenv_root() / "versions").glob("3.*"):
        match = re.fullmatch(r"3\.(\d+)\.(\d+)(t?)", folder.name)
        if match is not None:
            minor, patch, build = int(match[1]), int(match[2]), match[3]
            releases.append((minor, build, patch, folder / f"bin/python3.{minor}{build}"))
    latest = {(minor, build): executable for minor, build, _, executable in sorted(releases)}
    return [executable for (minor, _), executable in latest.items() if minor >= OLDEST_MINOR]


def pyenv_root() -> Path:
    configured = os.environ.get("PYENV_ROOT")
    if not configured and shutil.which("pyenv") is not None:
        asked = subprocess.run(["pyenv", "root"], check=True, stdout=subprocess.PIPE, text=True)
        configured = asked.stdout.strip()
    return Path(configured) if configured else Path.home() / ".pyenv"


def describe(
    probes: ProbeCache, executable: Path, name: str, *, root: Path | None = None, jit: bool = False
) -> Interpreter | None:
    """The interpreter, its name having "3.13", "3.13d" or "3.13t" in the gap of `name`.

    None if there is no such file, if it does not run, or if the JIT is wanted and not built in.
    """
    facts = probes.facts(executable, root)
    if facts is None or (jit and not facts["jit"]):
        return None
    major, minor, patch = facts["version"]
    builds = "".join(flag for flag in "dt" if flag in facts["abiflags"])
    has_own_symbols = bool(facts["symbols"])
    return Interpreter(
        name=name.format(f"{major}.{minor}{builds}"),
        version=(major, minor, patch),
        executable=executable,
        root=root,
        free_threaded="t" in builds,
        debug="d" in builds,
        jit=jit,
        musl=facts["musl"],
        stripped=not has_own_symbols,
        debug_files=sid_debug_files() if root is not None and not has_own_symbols else None,
    )


class ProbeCache:
    """What each interpreter says of itself, in a file: collecting tests starts none of them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = False
        try:
            self._entries: dict[str, dict[str, Any]] = json.loads(file.read_text())
        except (OSError, ValueError):
            self._entries = {}

    def facts(self, executable: Path, root: Path | None) -> dict[str, Any] | None:
        """None if there is no such file or it does not run."""
        probed = Interpreter(name="probe", version=(0, 0, 0), executable=executable, root=root)
        try:
            status = probed.host_executable.stat()
        except OSError:
            return None
        identity = [PROBE_VERSION, status.st_ino, status.st_size, status.st_mtime_ns]
        entry = self._entries.get(str(probed.host_executable))
        if entry is None or entry["identity"] != identity:
            command = probed.command("-I", "-S", "-c", PROBE)
            done = subprocess.run(
                command,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=target_environment(),
            )
            if done.returncode != 0:
                return None
            facts = json.loads(done.stdout)
            files = [executable, *(Path(library) for library in facts.pop("libraries"))]
            entry = {
                "identity": identity,
                **facts,
                "symbols": any(has_symbol_table(probed.on_host(file)) for file in files),
            }
            self._entries[str(probed.host_executable)] = entry
            self._changed = True
        return entry

    def save(self) -> None:
        """A cache that cannot be written is only slow."""
        if not self._changed:
            return
        fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(self._entries, indent=1))
            fresh.replace(self._file)
        except OSError:
            fresh.unlink(missing_ok=True)


def has_symbol_table(file: Path) -> bool:
    """Whether a 64-bit ELF file has a `.symtab`, which is what `strip` takes away."""
    symtab_type = 2  # SHT_SYMTAB of the ELF specification
    with file.open("rb") as elf:
        head = elf.read(64)
        (offset,) = struct.unpack_from("<Q", head, 0x28)
        size, count = struct.unpack_from("<HH", head, 0x3A)
        elf.seek(offset)
        sections = elf.read(size * count)
    return any(
        struct.unpack_from("<I", sections, index * size + 4)[0] == symtab_type
        for index in range(count)
    )


def table() -> str:
    """The interpreters found, for people."""
    lines = []
    for interpreter in everything():
        kinds = ("free_threaded", "debug", "jit", "musl", "stripped", "container")
        kind = ", ".join(name.replace("_", "-") for name in kinds if getattr(interpreter, name))
        version = ".".join(str(part) for part in interpreter.version)
        lines.append(f"{interpreter.name:22} {version:8} {kind:38} {interpreter.host_executable}")
    lacking = ", ".join(missing()) or "nothing"
    lines.append(f"{len(everything())} interpreters; of the full matrix is missing: {lacking}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
