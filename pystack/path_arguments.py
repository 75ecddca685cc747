"""Checks of the paths that callers of the API give."""

from __future__ import annotations

import os

from pystack import errors

ELF_MAGIC = b"\x7fELF"


def folder(path: str | os.PathLike[str]) -> str:
    """The name of a folder that can be searched."""
    folder = encodable(os.fsdecode(path))
    if not os.path.isdir(folder):  # noqa: PTH112 (start-up time)
        raise errors.InvalidArgument(f"{folder} is not a folder")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise errors.InvalidArgument(f"the folder {folder} cannot be read")
    return folder


def program(path: str | os.PathLike[str]) -> str:
    """The name of an ELF file."""
    program = encodable(os.fsdecode(path))
    try:
        with open(program, "rb") as file:
            head = file.read(len(ELF_MAGIC))
    except OSError as error:
        raise errors.InvalidArgument(
            f"the executable {program} cannot be read: {error.strerror}"
        ) from None
    if head != ELF_MAGIC:
        raise errors.InvalidArgument(
            f"{program} is not an ELF executable",
            hint="Give the Python executable that ran, not the script, or omit it: the core names it.",
        )
    return program


def encodable(path: str) -> str:
    """The C++ core accepts only UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise errors.InvalidArgument(
            f"the name {path!a} is not UTF-8", hint="Create a link to it with another name."
        ) from None
    if "\0" in path:
        raise errors.InvalidArgument(f"the name {path!a} contains a zero byte")
    return path
