"""The compiler: clang from PyPI's `ziglang`, which has the headers and stubs of old glibc versions and of musl.

Its libc++ is linked statically, so a wheel needs no libstdc++ on the machine where it runs.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.steps import Steps, publish, workplace

ZIG_VERSION = "0.15.2"


@dataclass(frozen=True)
class Libc:
    """A C library that wheels are made for."""

    name: str  # gnu or musl
    zig_target: str
    platform_tag: str  # of wheels
    platform: str  # in the file names of extensions


GNU = Libc("gnu", "x86_64-linux-gnu.2.28", "manylinux_2_28_x86_64", "x86_64-linux-gnu")
MUSL = Libc("musl", "x86_64-linux-musl", "musllinux_1_2_x86_64", "x86_64-linux-musl")
LIBCS = (GNU, MUSL)

# zig declares std::unexpected() of C++14, which is in the way of std::unexpected of C++23.
_CXX_OPTIONS = "-U_LIBCPP_ENABLE_CXX17_REMOVED_UNEXPECTED_FUNCTIONS"

# zig makes a precompiled header of every C++ header, and refuses to be told so as CMake does.
_DROP_EMIT_PCH = """\
count=$#
while [ $count -gt 0 ]; do
    word=$1
    shift
    count=$((count - 1))
    if [ "$word ${1-}" = "-Xclang -emit-pch" ]; then
        shift
        count=$((count - 1))
    else
        set -- "$@" "$word"
    fi
done
"""


class Toolchain:
    """The programs cc, c++, ar and ranlib for one C library, in a folder of their own."""

    def __init__(self, steps: Steps, cache: Path, libc: Libc) -> None:
        self.libc = libc
        self.zig = _installed_zig(steps, cache)
        self._cache = cache
        self._folder = cache / f"toolchain-{libc.name}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._wrap("cc", f"cc -target {libc.zig_target} -g0")
        self._wrap("c++", f"c++ -target {libc.zig_target} {_CXX_OPTIONS} -g0", _DROP_EMIT_PCH)
        self._wrap("ar", "ar")
        self._wrap("ranlib", "ranlib")

    def __getitem__(self, program: str) -> Path:
        return self._folder / program

    def environment(self) -> dict[str, str]:
        """Variables for make, configure and CMake."""
        zig_cache = str(self._cache / "zig-cache")
        return {
            "CC": str(self["cc"]),
            "CXX": str(self["c++"]),
            "AR": str(self["ar"]),
            "RANLIB": str(self["ranlib"]),
            "ZIG_GLOBAL_CACHE_DIR": zig_cache,
            "ZIG_LOCAL_CACHE_DIR": zig_cache,
            # zig has a cache of its own, and ccache does not understand it.
            "CMAKE_C_COMPILER_LAUNCHER": "",
            "CMAKE_CXX_COMPILER_LAUNCHER": "",
        }

    def path_options(self, source: Path) -> str:
        """Options by which no path of this machine gets into what is compiled."""
        return f"-ffile-prefix-map={source}=pystack -ffile-prefix-map={self._cache}=build"

    def audit_options(self, steps: Steps) -> list[str]:
        """Options for `auditwheel show`: a `libc.so` to find, since that of glibc is no ELF file."""
        if self.libc is not MUSL:
            return []
        stub = self._folder / "libc.so"
        empty = self._folder / "empty.c"
        empty.write_text("")
        steps.run(
            *(self["cc"], "-shared", "-nostdlib", "-o", stub, empty), environment=self.environment()
        )
        return ["--ldpaths", str(self._folder)]

    def _wrap(self, name: str, command: str, before: str = "") -> None:
        path = self._folder / name
        path.write_text(f'#!/bin/sh\n{before}exec "{self.zig}" {command} "$@"\n')
        path.chmod(0o755)


def _installed_zig(steps: Steps, cache: Path) -> Path:
    folder = cache / f"ziglang-{ZIG_VERSION}"
    program = folder / "ziglang" / "zig"
    if not os.access(program, os.X_OK):
        steps.say(f"installing ziglang {ZIG_VERSION}")
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
        with workplace(folder.with_name(folder.name + ".tmp")) as made:
            steps.run(*pip, "--only-binary=:all:", "--target", made, f"ziglang=={ZIG_VERSION}")
            publish(made, folder)
    return program
