"""The cache of downloaded debug files, shared with elfutils and gdb.

The cache is used only if no other user can write to it: its files are trusted as if they came from
the server.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pystack.safe_files import new_file
from pystack.safe_paths import Folder, find_folder, place_in

DEFAULT_CACHE_MISS_S = 600.0

_NAME = "debuginfo"


class CacheError(Exception):
    """The disk is full, or the folder cannot be used. The message is the reason."""


class DebugCache:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path_of(self, build_id: str) -> str:
        return str(self.folder / build_id / _NAME)

    def find(self, build_id: str) -> bool | None:
        """Whether the file is cached; None if no server had it recently. Raises CacheError."""
        try:
            folder = self._open(build_id, create=False)
        except FileNotFoundError:
            return False
        with place_in(folder, _NAME) as place:
            status = place.status
        if status is None or not stat.S_ISREG(status.st_mode):
            return False
        if status.st_size > 0:
            return True
        # elfutils marks a file that no server has by an empty file.
        return None if time.time() - status.st_mtime < self._cache_miss_s() else False

    @contextlib.contextmanager
    def new_file(self, build_id: str) -> Iterator[int]:
        """Yields a descriptor to write to. Other processes see only the complete file."""
        with contextlib.ExitStack() as stack:
            try:
                place = stack.enter_context(place_in(self._open(build_id, create=True), _NAME))
                descriptor = stack.enter_context(new_file(place))
            except OSError as error:
                raise CacheError(error.strerror) from None
            yield descriptor

    def note_missing(self, build_id: str) -> None:
        with contextlib.suppress(CacheError, OSError), self.new_file(build_id):
            pass

    def _open(self, build_id: str, *, create: bool) -> Folder:
        """Opens the folder of one file. Raises FileNotFoundError or CacheError."""
        path = os.path.abspath(self.folder)  # noqa: PTH100 (pathlib's would follow links)
        try:
            for folder_path in (path, f"{path}/{build_id}"):
                folder = find_folder(folder_path, create=create)
                if folder.is_open_to_all:
                    folder.close()
                    raise CacheError("other users can write to it")
                if folder_path == path:
                    folder.close()
        except FileNotFoundError:
            if create:
                raise CacheError("its folder was removed") from None
            raise
        except OSError as error:
            raise CacheError(error.strerror) from None
        return folder

    def _cache_miss_s(self) -> float:
        try:
            return float((self.folder / "cache_miss_s").read_text())
        except (OSError, ValueError):
            return DEFAULT_CACHE_MISS_S


def default_cache(environment: Mapping[str, str]) -> Path:
    """elfutils' cache: DEBUGINFOD_CACHE_PATH, or a folder in the user's cache folder."""
    if configured := environment.get("DEBUGINFOD_CACHE_PATH"):
        return Path(configured)
    home = Path(environment.get("HOME") or "/")
    old = home / ".debuginfod_client_cache"
    if old.is_dir():
        return old
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "debuginfod_client"
