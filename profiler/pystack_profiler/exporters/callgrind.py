"""callgrind's format, for KCachegrind and QCachegrind: time of each line, and of each call from a line to a function.

The format has no stacks, threads or times. Of a recursive function, the innermost call of each stack counts, so the
time of a function and of what it calls is its total. Numbers of calls are numbers of samples: calls are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from pystack.render.escape import quote_command

from ..grouping import FrameLabel, Grouping
from ..naming import recording_title
from ..profile import Recording
from ..stats import losses
from ..view import DEFAULT_VIEW, MODES, View, time_in_mode, was_measured

_NO_FILE = "(no file)"
_Costs = list[int]


def export(recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None:
    grouping = Grouping(recording.profiles, "line", full_filenames=view.full_filenames)
    measured = [mode for mode in MODES if was_measured(mode, recording.states)]
    modes = sorted(measured, key=lambda mode: mode != view.mode)
    stacks: dict[int, _Costs] = {}
    for profile, track in recording.tracks():
        for run in track.runs():
            stack = grouping.stack_of_run(profile, run)
            costs = [time_in_mode(mode, run) for mode in modes]
            _add(stacks.setdefault(stack, [0] * (len(modes) + 1)), [*costs, run.samples])
    own: dict[int, _Costs] = {}
    calls: dict[int, dict[FrameLabel, _Costs]] = {}  # by the calling line, and the called function
    for stack, costs in stacks.items():
        path = grouping.path(stack)
        _add(own.setdefault(path[-1], [0] * len(costs)), costs)
        # Viewers add up what a function calls, so only the innermost of its frames counts.
        seen = {grouping.frames[path[-1]].of_function}
        for caller, callee in zip(path[-2::-1], path[:0:-1], strict=True):
            function, called = (grouping.frames[frame].of_function for frame in (caller, callee))
            if function not in seen:
                seen.add(function)
                _add(calls.setdefault(caller, {}).setdefault(called, [0] * len(costs)), costs)
    write = stream.write
    write(f"# callgrind format\nversion: 1\ncreator: pystack {recording.tool_version}\n")
    write(f"pid: {recording.pid}\ncmd: {quote_command(recording.command)}\n")
    write(f"desc: {recording_title(recording)}\ndesc: {losses(recording.stats)}\n")
    write("".join(f"event: {mode} : {mode} time in ns\n" for mode in modes))
    write(f"positions: line\nevents: {' '.join([*modes, 'samples'])}\n")
    labels = [(grouping.frames[frame], frame) for frame in own.keys() | calls.keys()]
    for label, frame in sorted(labels, key=lambda one: (one[0].file, one[0].name, one[1])):
        line = label.line or 0
        write(f"\nfl={label.file or _NO_FILE}\nfn={_name(label)}\n")
        if frame in own:
            write(f"{line} {_text(own[frame])}\n")
        for called, costs in calls.get(frame, {}).items():
            write(f"cfi={called.file or _NO_FILE}\ncfn={_name(called)}\n")
            write(f"calls={costs[-1]} {called.first_line or 0}\n{line} {_text(costs)}\n")


def _name(label: FrameLabel) -> str:
    # A name in brackets at the begin would be the number of a name.
    name = label.of_function.name
    return f" {name}" if name.startswith("(") else name


def _text(costs: Sequence[int]) -> str:
    return " ".join(map(str, costs))


def _add(into: _Costs, costs: Sequence[int]) -> None:
    for place, cost in enumerate(costs):
        into[place] += cost
