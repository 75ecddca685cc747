"""Builds CPython from Debian's source packages: with options, for musl, or inside of a root."""

from __future__ import annotations

import os
from pathlib import Path

from tools.debian import download_source, in_root, install_on_host, upstream_archive
from tools.steps import Steps

#: What pip and ctypes need, as static libraries, with options of `configure`.
_MUSL_LIBRARIES = {
    "zlib": ("--static",),
    "libffi": ("--disable-shared", "--disable-multi-os-directory", "--disable-docs"),
}
_LIBRARY_SUITE = "bookworm"
MUSL_PACKAGES = ("gcc", "linux-libc-dev", "make", "musl-tools", "xz-utils")


def build(
    steps: Steps,
    source: Path,
    prefix: Path,
    options: tuple[str, ...],
    *,
    root: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Path:
    """Compiles the source tree and returns the folder that is to be published as `prefix`.

    Args:
        steps: Runs the commands.
        source: The unpacked sources, below `root` if there is one.
        prefix: Where it will be run from.
        options: For `configure`.
        root: Compile inside this root, with its compiler.
        environment: Variables for `configure` and `make`.
    """
    destination = source.parent / "destination"

    def run(*command: str) -> None:
        if root is None:
            steps.run("nice", *command, cwd=source, environment=environment)
            return
        inside = Path("/") / source.relative_to(root)
        entered = ("sh", "-c", 'cd "$0" && exec "$@"', str(inside), *command)
        steps.run("nice", *in_root(root, *entered), environment=environment)

    target = destination if root is None else Path("/") / destination.relative_to(root)
    run("./configure", f"--prefix={prefix}", *options)
    run("make", f"-j{os.cpu_count() or 1}")
    run("make", "install", f"DESTDIR={target}")
    return destination / prefix.relative_to("/")


def unpack(steps: Steps, archive: Path, folder: Path) -> Path:
    """Unpacks the archive into the new folder, without the folder at its top, and returns it."""
    folder.mkdir(parents=True)
    steps.run("tar", "--extract", "--strip-components=1", "--file", archive, cwd=folder)
    return folder


def build_for_musl(
    steps: Steps, work: Path, archive: Path, prefix: Path, options: tuple[str, ...]
) -> Path:
    """Compiles CPython and the libraries in it with the system's gcc for musl; stripped, as Alpine's is."""
    install_on_host(steps, MUSL_PACKAGES)
    compiler = _musl_compiler(work)
    prefixes = {}
    for package, options_of_package in _MUSL_LIBRARIES.items():
        _, files = download_source(steps, work / f"{package}-files", package, (_LIBRARY_SUITE,))
        library = unpack(steps, upstream_archive(files), work / package)
        prefixes[package] = library / "installed"
        for_musl = {"CC": str(compiler), "CFLAGS": "-O2 -fPIC"}
        configure = ("./configure", f"--prefix={prefixes[package]}", *options_of_package)
        steps.run(*configure, cwd=library, environment=for_musl)
        steps.run("make", "install", cwd=library, environment=for_musl)
    zlib, libffi = prefixes["zlib"], prefixes["libffi"]
    source = unpack(steps, archive, work / "source")
    made = build(
        steps,
        source,
        prefix,
        ("--enable-shared", *options),
        environment={
            "CC": str(compiler),
            # Stripped anyway, and this compiles in half the time.
            "OPT": "-DNDEBUG -O2 -Wall",
            # The libraries of the machine are for another libc.
            "PKG_CONFIG_LIBDIR": str(work / "no-packages"),
            "ZLIB_CFLAGS": f"-I{zlib}/include",
            "ZLIB_LIBS": f"{zlib}/lib/libz.a",
            "LIBFFI_CFLAGS": f"-I{libffi}/include",
            "LIBFFI_LIBS": f"{libffi}/lib/libffi.a",
            # Threads have 1 MiB of stack, as Alpine's: musl's 128 KiB are too few for deep Python stacks.
            "LDFLAGS": f"-Wl,-s,-rpath,{prefix}/lib,-z,stack-size=0x100000",
        },
    )
    return made


def _musl_compiler(work: Path) -> Path:
    """musl-gcc with the kernel's headers, which the one of Debian does not find."""
    headers = work / "kernel-headers"
    headers.mkdir()
    for name, place in (
        ("linux", "/usr/include/linux"),
        ("asm-generic", "/usr/include/asm-generic"),
        ("asm", f"/usr/include/{os.uname().machine}-linux-gnu/asm"),
    ):
        (headers / name).symlink_to(place)
    compiler = work / "musl-cc"
    # gcc names the platform of the machine, which is not the one that this compiles for.
    compiler.write_text(
        "#!/bin/sh\n"
        'case "$*" in *-print-multiarch*) exit 0 ;; esac\n'
        f'exec musl-gcc -idirafter {headers} "$@"\n'
    )
    compiler.chmod(0o755)
    return compiler
