"""Downloads debug files for native frames from debuginfod servers.

The protocol is `GET URL/buildid/HEX/debuginfo`; the settings are those of elfutils, see
debuginfod-client-config(7).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pystack.debug_cache import CacheError, DebugCache, default_cache

#: In seconds. elfutils waits for 90, but a user is waiting for the stacks of a hung process.
DEFAULT_TIMEOUT_S = 10.0
#: For one file, from all servers together. elfutils has no limit.
DEFAULT_MAX_TIME_S = 600.0
#: Debug files of browsers have a few GiB. A server that never stops sending must not fill the disk.
DEFAULT_MAX_BYTES = 8 << 30

_SCHEMES = ("http://", "https://")

#: Called with the file's name, the server, the bytes received so far, and the total if it is known.
#: A total of -1 means that the download has ended.
Progress = Callable[[str, str, int, "int | None"], None]


class Debuginfod:
    """Servers that are asked for the debug files of native code, one after the other.

    A server that does not answer in time is reported to `warn` and not asked again.
    """

    def __init__(
        self,
        urls: Iterable[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_time_s: float | None = DEFAULT_MAX_TIME_S,
        max_bytes: int | None = DEFAULT_MAX_BYTES,
        headers: Mapping[str, str] | None = None,
        cache: Path | None = None,
        progress: Progress | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            urls: http or https URLs, as in DEBUGINFOD_URLS.
            timeout_s: How long a server may take to connect and to send each 100 KiB.
            max_time_s: How long one file may take from all servers together; None: no limit.
            max_bytes: The maximum size of one file; None: no limit.
            headers: HTTP headers for each request to these servers.
            cache: The folder for downloaded files; None: elfutils' cache.
            progress: Called while a file is downloaded.
            warn: Called with a sentence without a full stop for each server that fails.
        """
        self._urls = [url.rstrip("/").removesuffix("/buildid") for url in urls]
        self._timeout_s = timeout_s
        self._max_time_s = max_time_s
        self._max_bytes = max_bytes
        self._headers = dict(headers or {})
        self._cache = DebugCache(default_cache(os.environ) if cache is None else cache)
        self._progress = progress
        self._warn = warn
        self._answers: dict[str, str | None] = {}
        self._failed: set[str] = set()
        self._has_cache = True
        self._lock = threading.Lock()  # Recordings of several processes share one object.

    def fetch(self, build_id: str, name: str) -> str | None:
        """Returns the path of the debug file of the file `name`, or None if no server has it."""
        with self._lock:
            if build_id not in self._answers:
                self._answers[build_id] = self._find(build_id, name)
            return self._answers[build_id]

    def _find(self, build_id: str, name: str) -> str | None:
        if not build_id or set(build_id) - set("0123456789abcdef"):
            return None  # The target chose it, and it becomes part of a path.
        if not self._has_cache:
            return None
        asked = [url for url in self._urls if url not in self._failed]
        try:
            found = self._cache.find(build_id)
            if found is None:
                return None
            if found or self._load_from_one(asked, build_id, name):
                return self._cache.path_of(build_id)
        except CacheError as error:
            self._has_cache = False
            self._report_failure(f"cannot store debug files in {self._cache.folder}: {error}")
            return None
        if asked and not self._failed:
            self._cache.note_missing(build_id)
        return None

    def _load_from_one(self, urls: Iterable[str], build_id: str, name: str) -> bool:
        deadline_s = None if self._max_time_s is None else time.monotonic() + self._max_time_s
        for url in urls:
            try:
                if self._load(url, build_id, name, deadline_s):
                    return True
            except OSError as error:
                self._failed.add(url)
                reason = getattr(error, "reason", None) or error.strerror or error
                self._report_failure(
                    f"the debuginfod server {url} {self._slowness(error) or f'failed: {reason}'};"
                    " its debug files are missing"
                )
        return False

    def _slowness(self, error: OSError) -> str | None:
        from pystack.download import LEAST_BYTES, Stalled, TooLate

        if isinstance(error, Stalled):
            little = f"less than {LEAST_BYTES >> 10} KiB within"
            what = "nothing for" if error.received == 0 else little
            return f"sent {what} {self._timeout_s:g} s (limit: timeout_s=...)"
        if isinstance(error, TooLate):
            return f"took longer than {self._max_time_s:g} s (limit: max_time_s=...)"
        return None

    def _report_failure(self, sentence: str) -> None:
        if self._warn is not None:
            self._warn(sentence)

    def _load(self, url: str, build_id: str, name: str, deadline_s: float | None) -> bool:
        """Whether the server had the file."""
        # Imported only if there is something to download.
        from pystack import __version__
        from pystack.download import DiskError, Limits, NotFound, download

        headers = {"User-Agent": f"pystack/{__version__}", **self._headers}
        self._report_progress(name, url, 0, None)
        try:
            with self._cache.new_file(build_id) as descriptor:
                download(
                    f"{url}/buildid/{build_id}/debuginfo",
                    descriptor,
                    headers=headers,
                    limits=Limits(self._timeout_s, deadline_s, self._max_bytes),
                    progress=lambda read, total: self._report_progress(name, url, read, total),
                )
        except NotFound:
            return False
        except DiskError as error:
            raise CacheError(str(error)) from None
        finally:
            self._report_progress(name, url, 0, -1)
        return True

    def _report_progress(self, name: str, url: str, read: int, total: int | None) -> None:
        if self._progress is not None:
            self._progress(name, url, read, total)


def configured_urls(environment: Mapping[str, str]) -> list[str]:
    """The http and https URLs in DEBUGINFOD_URLS."""
    return [url for url in environment.get("DEBUGINFOD_URLS", "").split() if is_url(url)]


def configured_timeout_s(environment: Mapping[str, str]) -> float:
    """DEBUGINFOD_TIMEOUT if it is a positive number, else the default."""
    try:
        timeout_s = float(environment.get("DEBUGINFOD_TIMEOUT", ""))
    except ValueError:
        return DEFAULT_TIMEOUT_S
    return timeout_s if 0 < timeout_s < float("inf") else DEFAULT_TIMEOUT_S


def configured_max_time_s(environment: Mapping[str, str]) -> float | None:
    """DEBUGINFOD_MAXTIME in seconds; 0: no limit."""
    seconds = _whole_number(environment, "DEBUGINFOD_MAXTIME")
    return DEFAULT_MAX_TIME_S if seconds is None else float(seconds) or None


def configured_max_bytes(environment: Mapping[str, str]) -> int | None:
    """DEBUGINFOD_MAXSIZE in bytes; 0: no limit."""
    size = _whole_number(environment, "DEBUGINFOD_MAXSIZE")
    return DEFAULT_MAX_BYTES if size is None else size or None


def configured_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """The lines `Name: value` of DEBUGINFOD_HEADERS_FILE. Raises OSError if it cannot be read."""
    path = environment.get("DEBUGINFOD_HEADERS_FILE")
    if not path:
        return {}
    headers = {}
    for line in Path(path).read_text("latin-1").splitlines():
        name, colon, value = line.partition(":")
        if colon and name and name.isprintable() and " " not in name:
            headers[name] = value.strip()
    return headers


def _whole_number(environment: Mapping[str, str], name: str) -> int | None:
    with contextlib.suppress(ValueError):
        number = int(environment.get(name, ""))
        return number if number >= 0 else None
    return None


def is_url(text: str) -> bool:
    return text.startswith(_SCHEMES)
