"""The options that select a part of a recording file."""

from __future__ import annotations

from math import inf

from pystack.cli.declare import UsageProblem, option, option_group
from pystack.cli.quantities import seconds
from pystack.errors import InvalidArgument

from .profile import Recording
from .recording_file import Selection


def _moment(text: str) -> float:
    """Converts `10`, `1m30s` or `500ms` to seconds; 0 is the begin."""
    return 0.0 if text.strip() in ("0", "0s") else seconds(text)


def _selection_of(
    *, from_s: float | None, to_s: float | None, thread_names: tuple[str, ...]
) -> Selection:
    begin_s, end_s = from_s or 0.0, inf if to_s is None else to_s
    if begin_s >= end_s:
        raise UsageProblem("--from must be before --to.")
    return Selection(begin_s, end_s, thread_names)


selection_options = option_group(
    "selection",
    _selection_of,
    (
        option(
            "--from",
            "from_s",
            type=_moment,
            metavar="TIME",
            help="Begin this long after the begin of the recording: 10, 500ms, 1m30s.",
        ),
        option(
            "--to",
            "to_s",
            type=_moment,
            metavar="TIME",
            help="End this long after the begin of the recording. Default: at its end.",
        ),
        option(
            "--thread",
            "thread_names",
            multiple=True,
            metavar="NAME",
            help="Only threads with this name or ID; a pattern such as 'worker-*' selects several. Repeat"
            " for more.",
        ),
    ),
)


def check_selected(recording: Recording, selection: Selection) -> None:
    """Raises InvalidArgument if the recording has nothing of what was selected."""
    if selection.threads and not any(profile.tracks for profile in recording.profiles):
        names = " or ".join(map(repr, selection.threads))
        raise InvalidArgument(
            f"no thread of the recording is named {names}",
            hint="`pystack report FILE` lists the threads. A name can be a pattern: 'worker-*'.",
        )
    if not selection.is_all_time and not recording.sample_count:
        raise InvalidArgument(
            "no sample of the recording is in that stretch of time",
            hint="`pystack report FILE` says how long the recording is.",
        )
