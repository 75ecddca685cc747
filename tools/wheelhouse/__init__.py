"""Makes wheels that run on every Linux distribution of the last years. `tools/wheels` calls it.

toolchain  a C++ compiler for old glibc and for musl
libraries  zlib, xz and zstd as static libraries, from Debian's sources
extras     shell completions, man pages and licences, which only wheels have
builds     the sdist, and wheels from it by scikit-build-core
audit      whether a wheel needs no more than its tag says
places     where wheels are tried (`--verify`): Debian roots, a CPython for musl
"""
