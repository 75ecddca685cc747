"""Fetches the programs that tests open our files with: speedscope and Firefox's profiler-cli from the npm
registry (with a Node.js that is new enough for it), and pprof and callgrind_annotate from Debian's packages.

    python tools/viewers.py

They go to `$PYSTACK_TEST_CACHE`, by default `~/.cache/pystack-tests`, once.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

_NODE_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
_MACHINE = platform.machine()

#: Name and version of what is in the npm registry, by our names.
_NPM = {
    "speedscope": ("speedscope", "1.25.0"),
    "profiler-cli": ("@firefox-devtools/profiler-cli", "0.10.0"),
    "node": (f"node-linux-{_NODE_MACHINES.get(_MACHINE, _MACHINE)}", "24.21.0"),
}
_GO_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_GO_TOOLS = f"usr/lib/go-1.19/pkg/tool/linux_{_GO_MACHINES.get(_MACHINE, _MACHINE)}"

#: Package, version and path of the one file that is wanted of it: the rest is some hundred times as large.
_DEBIAN = {
    "pprof": ("golang-1.19-go", "1.19", f"{_GO_TOOLS}/pprof"),
    "callgrind_annotate": ("valgrind", "3", "usr/bin/callgrind_annotate"),
}


def folder(name: str) -> Path:
    """Where a program is, or will be."""
    cache = os.environ.get("PYSTACK_TEST_CACHE") or "~/.cache/pystack-tests"
    version = _NPM[name][1] if name in _NPM else _DEBIAN[name][1]
    return Path(cache).expanduser() / name / version


def _unpack_npm(name: str, into: Path) -> Path:
    package, version = _NPM[name]
    command = ["npm", "pack", "--silent", f"{package}@{version}"]
    subprocess.run(command, cwd=into, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(into.glob("*.tgz"))) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter  # the default from 3.14 on
        archive.extractall(into)
    return into / "package"


def _unpack_debian(name: str, into: Path) -> Path:
    package_name, _, path = _DEBIAN[name]
    command = ["apt-get", "-qq", "download", package_name]
    subprocess.run(command, cwd=into, check=True, stdout=subprocess.DEVNULL)
    package = next(into.glob("*.deb"))
    member = f"./{path}"
    unpacked = into / "unpacked"
    unpacked.mkdir()
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as contents:
        subprocess.run(
            ["tar", "-x", f"--strip-components={member.count('/')}", member],
            cwd=unpacked,
            check=True,
            stdin=contents.stdout,
        )
    return unpacked


def _fetch(name: str, unpack: Callable[[str, Path], Path]) -> None:
    target = folder(name)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        unpacked = unpack(name, Path(temporary))
        if not target.exists():
            unpacked.rename(target)


def main() -> int:
    for name in (*_NPM, *_DEBIAN):
        try:
            _fetch(name, _unpack_npm if name in _NPM else _unpack_debian)
        except (OSError, StopIteration, subprocess.CalledProcessError) as error:
            print(f"cannot fetch {name}: {error}", file=sys.stderr)
            return 1
        print(folder(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
