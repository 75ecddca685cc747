"""Collapsed stacks: `root (app.py);handler (app.py);query (db.py) 1500`, one line per distinct stack.

The number is microseconds of real time, summed over all threads unless threads are root frames. The
format has no field for files, so the end of the path is part of each frame's name, as much as tells
files apart; `;` in a name becomes `:`.
"""

from __future__ import annotations

from typing import TextIO

from ..grouping import FrameLabel, Grouping
from ..naming import process_title, thread_title
from ..profile import Profile, Recording
from ..track import Track
from ..view import DEFAULT_VIEW, View, time_in_mode


def export(recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None:
    grouping = Grouping(recording.profiles, view.granularity, full_filenames=view.full_filenames)
    names = [_name(label) for label in grouping.frames]
    several = len(recording.profiles) > 1
    weight_ns: dict[tuple[str, int], int] = {}
    for profile, track in recording.tracks():
        root = _root(profile, track, several) if view.threads else ""
        for run in track.runs():
            if time_ns := time_in_mode(view.mode, run):
                key = (root, grouping.stack_of_run(profile, run))
                weight_ns[key] = weight_ns.get(key, 0) + time_ns
    for (root, stack), sum_ns in sorted(weight_ns.items()):
        microseconds = (sum_ns + 500) // 1000
        if microseconds:
            path = ";".join(names[frame] for frame in grouping.path(stack))
            stream.write(f"{root}{path} {microseconds}\n")


def _root(profile: Profile, track: Track, several: bool) -> str:
    titles = [process_title(profile)] if several else []
    titles.append(thread_title(track.identity))
    return "".join(f"{_clean(title)};" for title in titles)


def _name(label: FrameLabel) -> str:
    name = label.name
    if label.file and not label.function.startswith("<"):
        position = label.short_file
        if label.at is not None:
            position = f"{position}:{label.at}"
        name = f"{label.function} ({position})"
    return _clean(name)


def _clean(text: str) -> str:
    return text.replace(";", ":")
