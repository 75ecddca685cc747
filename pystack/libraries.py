"""Whose code a file is: the standard library and installed packages, or the user's own."""

from __future__ import annotations

import re

_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib(?:64)?/(?:python|pypy)[\d.]+t?/|\.zip/")
_PACKAGE = re.compile(r"/(?:site|dist)-packages/([^/]+)")


def package_of(file: str) -> str | None:
    """The installed package that the file belongs to, as its folder or file is named."""
    found = _PACKAGE.search(file)
    return found[1] if found else None


def is_frozen(file: str) -> bool:
    """Whether the interpreter has the module inside: `<frozen importlib._bootstrap>`."""
    return file.startswith("<frozen ")


def is_library(file: str) -> bool:
    """Whether the file, as code objects name it, belongs to the standard library or to an installed package."""
    return is_frozen(file) or _LIBRARY.search(file) is not None
