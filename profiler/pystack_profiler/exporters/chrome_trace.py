"""Chrome's trace events, which Perfetto and speedscope read, too: each stay of a function on a thread's stack is an event.

Times are microseconds from the begin of the recording. Calls of a function that follow each other without a
sample between them are one event. In a mode other than wall, each stretch has its time in the mode.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TextIO

from ..aggregate import display_order
from ..grouping import FrameLabel, Grouping
from ..naming import process_title, recording_title, thread_title
from ..profile import Profile, Recording
from ..stats import losses
from ..track import EMPTY_STACK, Track
from ..view import DEFAULT_VIEW, Mode, View, time_in_mode
from .pieces import write_array


def export(recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None:
    grouping = Grouping(recording.profiles, view.granularity, full_filenames=view.full_filenames)
    stream.write('{"displayTimeUnit":"ms","traceEvents":')
    write_array(stream, _events(recording, grouping, view.mode))
    about = {"title": recording_title(recording), "losses": losses(recording.stats)}
    stream.write(f',\n"otherData":{json.dumps(about)}}}\n')


def _events(recording: Recording, grouping: Grouping, mode: Mode) -> Iterator[str]:
    texts = [_frame(label) for label in grouping.frames]
    tracks = list(recording.tracks())
    taken = set[tuple[int, int]]()
    for index in display_order(tracks):
        profile, track = tracks[index]
        who = track.identity
        key = profile.process.pid, who.tid or who.pid
        while key in taken:  # of another interpreter, or of another machine
            key = key[0], key[1] + (1 << 24)
        taken.add(key)
        ids = f'"pid":{key[0]},"tid":{key[1]}'
        for kind, name in (
            ("process_name", process_title(profile)),
            ("thread_name", thread_title(who)),
        ):
            yield f'\n{{"ph":"M","name":"{kind}",{ids},"args":{{"name":{json.dumps(name)}}}}}'
        for frame, begin_ns, end_ns in _stays(recording, profile, track, grouping, mode):
            yield (
                f'\n{{"ph":"X",{texts[frame]},{ids},"ts":{_microseconds(begin_ns)}'
                f',"dur":{_microseconds(end_ns - begin_ns)}}}'
            )


def _stays(
    recording: Recording, profile: Profile, track: Track, grouping: Grouping, mode: Mode
) -> Iterator[tuple[int, int, int]]:
    """Frame, begin and end of each stay on the stack, the innermost first."""
    on_stack: list[tuple[int, int]] = []
    stack, now_ns = EMPTY_STACK, 0
    for run in track.runs():
        time_ns = time_in_mode(mode, run)
        if not time_ns:
            continue
        begin_ns = max(now_ns, run.start_ns - recording.start_ns)
        next_stack = grouping.stack_of_run(profile, run)
        if next_stack != stack or begin_ns > now_ns:
            path = grouping.path(next_stack)
            kept = 0
            if begin_ns == now_ns:
                pairs = zip(path, on_stack, strict=False)
                kept = next(
                    (depth for depth, (new, (old, _)) in enumerate(pairs) if new != old),
                    min(len(path), len(on_stack)),
                )
            while len(on_stack) > kept:
                frame, since_ns = on_stack.pop()
                yield frame, since_ns, now_ns
            on_stack += [(frame, begin_ns) for frame in path[kept:]]
        stack, now_ns = next_stack, begin_ns + time_ns
    while on_stack:
        frame, since_ns = on_stack.pop()
        yield frame, since_ns, now_ns


def _frame(label: FrameLabel) -> str:
    where = label.file if label.line is None else f"{label.file}:{label.line}"
    arguments = f',"args":{{"file":{json.dumps(where)}}}' if label.file else ""
    return f'"name":{json.dumps(label.name)},"cat":"{label.kind}"{arguments}'


def _microseconds(time_ns: int) -> str:
    return f"{time_ns // 1000}.{time_ns % 1000:03d}"
