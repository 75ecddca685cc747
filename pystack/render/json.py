"""Snapshots as JSON. Imported only when JSON is requested."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pystack.model import Snapshot


def render_json(snapshot: Snapshot) -> str:
    """Returns one line of ASCII: everything else is escaped, so no string reaches a terminal raw."""
    return "".join(_pieces(snapshot))


def _pieces(snapshot: Snapshot) -> Iterator[str]:
    """Makes the text of equal frames only once, because recursion can be very deep."""
    document = snapshot.to_json_dict()
    threads = document["threads"]
    names = list(document)
    at = names.index("threads")
    yield _text({name: document[name] for name in names[:at]})[:-1] + ', "threads": ['
    made: dict[int, str] = {}  # By identity: `threads` keeps all of them alive.
    for number, thread in enumerate(threads):
        yield ", " * (number > 0)
        frames = thread.pop("frames")
        yield _text(thread)[:-1] + ', "frames": ['
        for index, frame in enumerate(frames):
            if id(frame) not in made:
                made[id(frame)] = _text(frame)
            yield ", " * (index > 0)
            yield made[id(frame)]
        yield "]}"
        thread["frames"] = frames
    tasks = document.pop("tasks")
    yield "], "
    if tasks is None:
        yield '"tasks": null, '
    else:
        yield '"tasks": ['
        yield from _tasks(tasks)
        yield "], "
    yield _text({name: document[name] for name in names[at + 1 :] if name != "tasks"})[1:]


def _tasks(tasks: list[dict[str, Any]]) -> Iterator[str]:
    """Thousands of tasks can share the same frames."""
    made: dict[int, str] = {}  # By identity: `tasks` keeps all of them alive.
    for number, task in enumerate(tasks):
        frames = task.pop("frames")
        if id(frames) not in made:
            made[id(frames)] = _text(frames)
        yield f'{", " * (number > 0)}{_text(task)[:-1]}, "frames": {made[id(frames)]}}}'
        task["frames"] = frames


def _text(value: object) -> str:
    # DEL is the only ASCII control character that JSON does not escape.
    return json.dumps(value).replace("\x7f", "\\u007f")
