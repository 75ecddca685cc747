#!/usr/bin/env python3
"""Generates cpp/cpython/objects/nonprintable.inc: the code points that repr() of a str escapes.

They are those of which str.isprintable() is false, by the Unicode tables of the interpreter that
runs this. Run it with the newest one at hand: an older interpreter escapes what its own tables do
not know yet, and the reader then shows the character itself.

    tools/generate_nonprintable.py           rewrites nonprintable.inc
    tools/generate_nonprintable.py -         writes it to standard output (for one in a container)
"""

from __future__ import annotations

import itertools
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / "cpp" / "cpython" / "objects" / "nonprintable.inc"

HEADER = """\
// Code points that repr() escapes, Unicode {version}, as ranges with both ends included.
// Written by tools/generate_nonprintable.py out of Python's str.isprintable(): do not edit.
"""


def ranges() -> Iterator[tuple[int, int]]:
    grouped = itertools.groupby(range(sys.maxunicode + 1), key=lambda code: chr(code).isprintable())
    for printable, codes in grouped:
        members = list(codes)
        if not printable:
            yield members[0], members[-1]


def render() -> str:
    lines = [HEADER.format(version=unicodedata.unidata_version)]
    line = ""
    for first, last in ranges():
        entry = f"{{{first:#x}, {last:#x}}},"
        if len(line) + 1 + len(entry) > 100:
            lines.append(line + "\n")
            line = ""
        line += entry if not line else " " + entry
    return "".join([*lines, line, "\n"])


def main() -> int:
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(render())
    elif sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    else:
        OUTPUT.write_text(render(), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
