"""Whose code a file is: the standard library and installed packages, or the user's own."""

from __future__ import annotations

from itertools import pairwise

_PACKAGES = ("site-packages", "dist-packages")
# Regular expressions would say the same, but take longer to import and compile than a dump takes.


def package_of(file: str) -> str | None:
    """The installed package that the file belongs to, as its folder or file is named."""
    # The first part is before a slash.
    for folder, inside in pairwise(file.split("/")[1:]):
        if folder in _PACKAGES and inside:
            return inside
    return None


def is_frozen(file: str) -> bool:
    """Whether the interpreter has the module inside: `<frozen importlib._bootstrap>`."""
    return file.startswith("<frozen ")


def is_library(file: str) -> bool:
    """Whether the file, as code objects name it, belongs to the standard library or to an installed package."""
    if is_frozen(file) or ".zip/" in file:
        return True
    # The first part is before a slash, the last is the file.
    folders = file.split("/")[1:-1]
    return any(folder in _PACKAGES for folder in folders) or any(
        folder in ("lib", "lib64") and _is_of_a_version(inside)
        for folder, inside in pairwise(folders)
    )


def _is_of_a_version(folder: str) -> bool:
    """Whether the folder is like `python3.13t`."""
    for name in ("python", "pypy"):
        if folder.startswith(name):
            version = folder[len(name) :].removesuffix("t")
            return bool(version) and all(char in "0123456789." for char in version)
    return False
