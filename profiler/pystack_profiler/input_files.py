"""Checks that files which a command reads are different ones, and none that it writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pystack.errors import InvalidArgument


def check_distinct(paths: Sequence[str]) -> None:
    """Raises InvalidArgument if two of them are the same file, by whatever names or links: it would count twice."""
    seen: dict[tuple[int, int], str] = {}
    for path in paths:
        file = _file_of(path)
        if file is None:
            continue
        if file in seen:
            same = seen[file] == path
            what = f"{path} is given twice" if same else f"{seen[file]} and {path} are one file"
            raise InvalidArgument(f"{what}; each recording counts once")
        seen[file] = path


def check_not_input(output: str, inputs: Iterable[str]) -> None:
    """Raises InvalidArgument if the output would replace one of the inputs."""
    file = _file_of(output)
    for path in inputs:
        if file is not None and file == _file_of(path):
            what = "is" if path == output else f"is {path},"
            raise InvalidArgument(
                f"{output} {what} the recording that is read; give the output another name"
            )


def _file_of(path: str) -> tuple[int, int] | None:
    """What tells a file from others; None if there is none (an error that reading it reports)."""
    try:
        known = Path(path).stat()
    except (OSError, ValueError):
        return None
    return known.st_dev, known.st_ino
