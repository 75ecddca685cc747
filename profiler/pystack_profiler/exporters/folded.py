"""Collapsed stacks: `root (app.py);handler (app.py);query (db.py) 1500`, one line a distinct stack.

The number is microseconds of real time, all threads together. The format has no place for files,
so the file's name is part of each frame's name; `;` in a name becomes `:`.
"""

from __future__ import annotations

import posixpath
from typing import TextIO

from ..grouping import FrameLabel, Granularity, group
from ..profile import EMPTY_STACK, Profile


def export(profile: Profile, stream: TextIO, *, granularity: Granularity = "function") -> None:
    grouping = group(profile, granularity)
    weight_ns = [0] * len(grouping.parent)
    for track in profile.tracks:
        for run in track.runs():
            weight_ns[grouping.stack_of[run.stack]] += run.weight_ns
    names = [_name(label, granularity) for label in grouping.frames]
    for stack, sum_ns in enumerate(weight_ns):
        microseconds = (sum_ns + 500) // 1000
        if stack != EMPTY_STACK and microseconds:
            path = ";".join(names[frame] for frame in grouping.path(stack))
            stream.write(f"{path} {microseconds}\n")


def _name(label: FrameLabel, granularity: Granularity) -> str:
    name = label.name
    if label.file and not name.startswith("<"):
        position = posixpath.basename(label.file)
        if granularity == "line" and label.line is not None:
            name = name.removesuffix(f":{label.line}")
            position = f"{position}:{label.line}"
        name = f"{name} ({position})"
    return name.replace(";", ":")
