"""Files that this process has made, so that it can remove them again, and no others."""

from __future__ import annotations

import os
import stat

from pystack.safe_paths import Place, find_place


class MadeFile:
    """A complete file that this process has just written."""

    def __init__(self, path: str) -> None:
        """Raises OSError if it is not there any more."""
        self.path = path
        with find_place(path) as place:
            self._identity = _identity(place)

    def remove(self) -> bool:
        """Removes it, unless it is gone, was changed, or another file took its name: then nothing is removed,
        and False is returned. Raises OSError if it cannot be removed."""
        try:
            place = find_place(self.path)
        except FileNotFoundError:  # of the folder
            return False
        with place:
            if _identity(place) != self._identity:
                return False
            # A name in the folder that was examined, which no link leads out of.
            os.unlink(place.name, dir_fd=place.folder.descriptor)
        return True


def _identity(place: Place) -> tuple[int, ...] | None:
    """Tells the file from another one that gets its number; permissions may change."""
    status = place.status
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    return (status.st_dev, status.st_ino, status.st_uid, status.st_size, status.st_mtime_ns)
