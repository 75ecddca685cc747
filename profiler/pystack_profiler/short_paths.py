"""Shortens file names for display, but keeps them different."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_SAME_EVERYWHERE = ("__init__.py", "__main__.py")  # their folder is the name of the package
_MOST_FOLDERS = 8


def short_paths(files: Iterable[str]) -> dict[str, str]:
    """Maps each path to its last components: as many as tell it apart from the other paths.

    `/lib/pandas/__init__.py` becomes `pandas/__init__.py`, and `/srv/app.py` becomes `app.py`.
    """
    length = dict.fromkeys(files, 1)
    for path in length:
        if path.endswith(_SAME_EVERYWHERE):
            length[path] = 2
    short = {path: _tail(path, count) for path, count in length.items()}
    for _ in range(_MOST_FOLDERS):
        times = Counter(short.values())
        ambiguous = [path for path, name in short.items() if times[name] > 1]
        if not ambiguous:
            return short
        for path in ambiguous:
            length[path] += 1
            short[path] = _tail(path, length[path])
    times = Counter(short.values())
    return {path: path if times[name] > 1 else name for path, name in short.items()}


def _tail(path: str, count: int) -> str:
    """The last components of a path; the path itself if it has no more."""
    folder, *parts = path.rsplit("/", count)
    is_part = len(parts) == count and (folder or count == 1)
    return "/".join(parts) if is_part else path
