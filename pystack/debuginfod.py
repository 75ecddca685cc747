"""Debug files from debuginfod servers, for native frames.

The protocol is `GET URL/buildid/HEX/debuginfo`. What was got is kept where elfutils and gdb keep it,
in their layout, so what one of them has fetched none of them fetches again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http.client import HTTPResponse

#: In seconds. elfutils waits for 90, but somebody waits for the stacks of a hung process.
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_CACHE_MISS_S = 600.0

_SCHEMES = ("http://", "https://")
# As elfutils has it: a server that sends less than this within the timeout is given up.
_LEAST_BYTES = 100 * 1024
_CHUNK = 256 * 1024
# Those of browsers have a few GiB. A server that sends for ever must not fill the disk.
_MAX_BYTES = 8 << 30

#: Called with the file's name, the server, the bytes read so far, and their number if that is known;
#: when it is over, with a number of -1.
Progress = Callable[[str, str, int, "int | None"], None]


class Debuginfod:
    """Servers to ask for the debug files of native code, one after the other.

    A server that does not answer in time is warned of, and not asked again.
    """

    def __init__(
        self,
        urls: Iterable[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        cache: Path | None = None,
        progress: Progress | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            urls: Of http or https, as in DEBUGINFOD_URLS.
            timeout_s: How long a server may send next to nothing.
            cache: The folder where files are kept; None: that of elfutils.
            progress: Called while a file is loaded.
            warn: Called with a sentence for each server that fails.
        """
        self._urls = [url.rstrip("/").removesuffix("/buildid") for url in urls]
        self._timeout_s = timeout_s
        self._cache = default_cache(os.environ) if cache is None else cache
        self._progress = progress
        self._warn = warn
        self._answers: dict[str, str | None] = {}
        self._failed: set[str] = set()
        self._lock = threading.Lock()  # Recordings of several processes share one.

    def fetch(self, build_id: str, name: str) -> str | None:
        """The path of the debug file of the file `name`; None if there is none to be had."""
        with self._lock:
            if build_id not in self._answers:
                self._answers[build_id] = self._find(build_id, name)
            return self._answers[build_id]

    def _find(self, build_id: str, name: str) -> str | None:
        if not build_id or set(build_id) - set("0123456789abcdef"):
            return None  # It comes from the target, and becomes a part of paths.
        place = self._cache / build_id / "debuginfo"
        with contextlib.suppress(OSError):
            status = place.stat()
            if status.st_size > 0:
                return str(place)
            # So elfutils notes that no server has it.
            if time.time() - status.st_mtime < self._cache_miss_s():
                return None
        asked = [url for url in self._urls if url not in self._failed]
        for url in asked:
            try:
                if self._load(url, build_id, name, place):
                    return str(place)
            except _CacheError as error:
                self._failed.update(self._urls)
                self._tell_failure(f"debug files cannot be kept in {self._cache}: {error}")
                break
            except OSError as error:  # So are those of urllib and of http.client's connections.
                self._give_up(url, error)
        if asked and not self._failed:
            self._note_missing(place)
        return None

    def _give_up(self, url: str, error: OSError) -> None:
        self._failed.add(url)
        reason = getattr(error, "reason", None)
        if isinstance(error, TimeoutError) or isinstance(reason, TimeoutError):
            what = f"sent nothing for {self._timeout_s:g} s (DEBUGINFOD_TIMEOUT)"
        else:
            what = f"failed: {reason or error.strerror or error}"
        self._tell_failure(f"the debuginfod server {url} {what}; native frames lack its files")

    def _tell_failure(self, sentence: str) -> None:
        if self._warn is not None:
            self._warn(sentence)

    def _load(self, url: str, build_id: str, name: str, place: Path) -> bool:
        """False: the server has no such file."""
        # Imported only when there is something to load.
        import http.client
        import urllib.error
        import urllib.request

        from pystack import __version__

        request = urllib.request.Request(
            f"{url}/buildid/{build_id}/debuginfo", headers={"User-Agent": f"pystack/{__version__}"}
        )
        self._tell(name, url, 0, None)
        try:
            with (
                urllib.request.urlopen(request, timeout=self._timeout_s) as response,
                _new_file(place) as write,
            ):
                self._copy(response, write, name, url)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.NOT_FOUND:
                return False
            raise OSError(f"HTTP {error.code} {error.reason}") from None
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"{type(error).__name__}: {error}") from None
        finally:
            self._tell(name, url, 0, -1)
        return True

    def _copy(
        self, response: HTTPResponse, write: Callable[[bytes], object], name: str, url: str
    ) -> None:
        total = response.length
        read = 0
        began, read_then = time.monotonic(), 0
        while chunk := response.read1(_CHUNK):
            write(chunk)
            read += len(chunk)
            if read > _MAX_BYTES:
                raise OSError(f"a file of more than {_MAX_BYTES >> 30} GiB")
            self._tell(name, url, read, total)
            now = time.monotonic()
            if read - read_then >= _LEAST_BYTES:
                began, read_then = now, read
            elif now - began > self._timeout_s:
                raise TimeoutError
        if total is not None and read != total:
            raise OSError(f"{read} of {total} bytes came")
        if read == 0:
            raise OSError("an empty file")

    def _tell(self, name: str, url: str, read: int, total: int | None) -> None:
        if self._progress is not None:
            self._progress(name, url, read, total)

    def _cache_miss_s(self) -> float:
        try:
            return float((self._cache / "cache_miss_s").read_text())
        except (OSError, ValueError):
            return DEFAULT_CACHE_MISS_S

    def _note_missing(self, place: Path) -> None:
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.touch(mode=0o400)


class _CacheError(Exception):
    """The disk is full, or the folder may not be written to."""


@contextlib.contextmanager
def _new_file(place: Path) -> Iterator[Callable[[bytes], None]]:
    """Others may look for it at any time: it is there as a whole or not at all."""
    partial = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = partial.open("wb", buffering=0)
    except OSError as error:
        raise _CacheError(error.strerror) from None

    def write(data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[file.write(left) :]
            except OSError as error:
                raise _CacheError(error.strerror) from None

    try:
        with file:
            yield write
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def default_cache(environment: Mapping[str, str]) -> Path:
    """Where elfutils keeps files: DEBUGINFOD_CACHE_PATH, or in the user's cache folder."""
    if configured := environment.get("DEBUGINFOD_CACHE_PATH"):
        return Path(configured)
    home = Path(environment.get("HOME") or "/")
    old = home / ".debuginfod_client_cache"
    if old.is_dir():
        return old
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "debuginfod_client"


def configured_urls(environment: Mapping[str, str]) -> list[str]:
    """Those of DEBUGINFOD_URLS that can be asked."""
    return [url for url in environment.get("DEBUGINFOD_URLS", "").split() if is_url(url)]


def configured_timeout_s(environment: Mapping[str, str]) -> float:
    """DEBUGINFOD_TIMEOUT, where it is a positive number."""
    try:
        timeout_s = float(environment.get("DEBUGINFOD_TIMEOUT", ""))
    except ValueError:
        return DEFAULT_TIMEOUT_S
    return timeout_s if 0 < timeout_s < float("inf") else DEFAULT_TIMEOUT_S


def is_url(text: str) -> bool:
    return text.startswith(_SCHEMES)
