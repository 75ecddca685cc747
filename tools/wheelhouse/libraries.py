"""What the C++ core links, as static libraries from the sources of Debian 12."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tools.debian import download_source, install_on_host
from tools.steps import StepError, Steps, is_current, publish, workplace, write_stamp
from tools.wheelhouse.toolchain import Toolchain

SUITE = "bookworm"
HOST_PACKAGES = ("dpkg-dev", "make")


@dataclass(frozen=True)
class Library:
    source: str  # Debian's name of the source package
    dsc_sha256: str  # of the file that has the hashes of all others
    commands: tuple[tuple[str, ...], ...]  # {prefix} is where it is installed
    licence: str  # its path in the source


LIBRARIES = (
    Library(
        "zlib",
        "3fa1e6b2fc525062aa88207dda52fed8e045373c809d362fe8a2bfbf7cf515a8",
        (
            ("./configure", "--static", "--prefix={prefix}"),
            ("make", "libz.a"),
            ("make", "install"),
        ),
        "README",
    ),
    Library(
        "xz-utils",
        "38f98e356f7e7e89b0920d39c55dd5f3d1a9f2684bff83c8b4890561e1832e94",
        (
            (
                "./configure",
                "--prefix={prefix}",
                "--host=x86_64-linux-gnu",
                *("--disable-shared", "--with-pic", "--disable-threads", "--disable-encoders"),
                *("--disable-xz", "--disable-xzdec", "--disable-lzmadec", "--disable-lzmainfo"),
                *("--disable-lzma-links", "--disable-scripts", "--disable-doc", "--disable-nls"),
            ),
            ("make", "-C", "src/liblzma", "install"),
        ),
        "COPYING",
    ),
    Library(
        "libzstd",
        "8f602f92b575aa8b5e979196fb6ee82d78f233521dc9636526d3ecba1f63c1b1",
        (
            (
                *("make", "-C", "lib", "PREFIX={prefix}"),
                *("ZSTD_LIB_COMPRESSION=0", "ZSTD_LIB_DICTBUILDER=0", "ZSTD_LEGACY_SUPPORT=0"),
                *("install-static", "install-includes"),
            ),
        ),
        "LICENSE",
    ),
)


def built_libraries(steps: Steps, cache: Path, toolchain: Toolchain) -> Path:
    """The folder with `include`, `lib` and `licences`."""
    final = cache / f"libraries-{toolchain.libc.name}"
    recipe = (LIBRARIES, toolchain.libc)
    if is_current(final, recipe):
        return final
    install_on_host(steps, HOST_PACKAGES)
    work_folder = final.with_name(final.name + ".tmp")
    with workplace(work_folder) as work:
        prefix = work / "prefix"
        (prefix / "licences").mkdir(parents=True)
        for library in LIBRARIES:
            source = _verified_source(steps, library, work / library.source)
            steps.say(f"compiling {library.source} for {toolchain.libc.name}")
            options = f"-O2 -fPIC {toolchain.path_options(source)}"
            for command in library.commands:
                words = [word.format(prefix=prefix) for word in command]
                environment = {**toolchain.environment(), "CFLAGS": options}
                steps.run(*words, cwd=source, environment=environment)
            licence = (source / library.licence).read_bytes()
            (prefix / "licences" / f"{library.source}.txt").write_bytes(licence)
        write_stamp(prefix, recipe)
        publish(prefix, final)
    return final


def _verified_source(steps: Steps, library: Library, work: Path) -> Path:
    """The sources with Debian's patches. Raises StepError if they are not the known ones."""
    _, files = download_source(steps, work, library.source, (SUITE,))
    dsc = next(files.glob("*.dsc"))
    found = hashlib.sha256(dsc.read_bytes()).hexdigest()
    if found != library.dsc_sha256:
        raise StepError(
            f"{dsc.name} has the SHA-256 {found}, not {library.dsc_sha256}: review the new source,"
            " then change the hash in tools/wheelhouse/libraries.py"
        )
    # It checks the other files by the hashes in this one.
    steps.run("dpkg-source", "-x", dsc, work / "source")
    return work / "source"
