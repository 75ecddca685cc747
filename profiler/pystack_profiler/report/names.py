"""Names of functions: as the report prints them, shortened, and found again when somebody asks about one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystack.errors import InvalidArgument

from ..grouping import FrameLabel

_NAME_WIDTH = 70
_FILE_WIDTH = 40
_SIMILAR = 5
_CUT = "…"


def place(label: FrameLabel) -> str:
    """`fib (app.py:7)`"""
    function = shortened(label.function, _NAME_WIDTH)
    if not label.file:
        return function
    line = "" if label.line is None else f":{label.line}"
    return f"{function} ({shortened(label.short_file, _FILE_WIDTH)}{line})"


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}{_CUT}"


def functions_named(labels: Sequence[FrameLabel], name: str) -> set[int]:
    """The frames of the functions that have the name: whole, else its last part (a method's), else as it is printed,
    with its file and line or shortened.

    Raises InvalidArgument if there are none, or if a shortened name fits functions of several names.
    """
    tests: tuple[Callable[[FrameLabel], bool], ...] = (
        lambda label: name in (label.name, label.function),
        lambda label: label._replace(at=None).name == name,
        lambda label: label.function.rpartition(".")[2] == name,
        lambda label: name in (place(label), place(label.of_function)),
    )
    for test in tests:
        found = {frame for frame, label in enumerate(labels) if test(label)}
        if found:
            return _of_one_name(labels, found, name)
    begin, cut, _ = name.partition(_CUT)
    if cut and begin:
        found = {
            frame
            for frame, label in enumerate(labels)
            if label.name.startswith(begin) or label.function.startswith(begin)
        }
        if found:
            return _of_one_name(labels, found, name)
    similar = sorted({label.function for label in labels if name.lower() in label.function.lower()})
    raise InvalidArgument(
        f"no function of the recording is named {name}",
        hint=f"Similar: {_listed(similar)}." if similar else None,
    )


def _of_one_name(labels: Sequence[FrameLabel], found: set[int], name: str) -> set[int]:
    """Functions of one name in several files are one answer, which lists them. Of several, one has to be chosen."""
    if _CUT in name and len({labels[frame].function for frame in found}) > 1:
        places = sorted({place(labels[frame].of_function) for frame in found})
        raise InvalidArgument(
            f"several functions of the recording begin with {name.partition(_CUT)[0]}",
            hint=f"Give the file and line, too, or the whole name (report --json): {_listed(places)}.",
        )
    return found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SIMILAR
    text = ", ".join(shortened(name, _NAME_WIDTH + _FILE_WIDTH) for name in names[:_SIMILAR])
    return f"{text} and {more:,} more" if more > 0 else text
