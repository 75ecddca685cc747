"""The commands' debuginfod servers, and the progress and warnings of downloads."""

from __future__ import annotations

import os
import time

from pystack.cli.declare import UsageProblem
from pystack.cli.hints import in_options
from pystack.cli.screen import StatusLine, print_status
from pystack.debuginfod import (
    Debuginfod,
    Progress,
    configured_headers,
    configured_max_bytes,
    configured_max_time_s,
    configured_timeout_s,
    configured_urls,
    is_url,
)

_PROGRESS_INTERVAL_S = 0.2


def debuginfod_of(urls: tuple[str, ...]) -> Debuginfod | None:
    """The given servers, else those in DEBUGINFOD_URLS; None if there are none."""
    for url in urls:
        if not is_url(url):
            raise UsageProblem(f"--debuginfod needs an http or https URL, not {url!r}.")
    asked = list(urls) or configured_urls(os.environ)
    if not asked:
        return None
    return Debuginfod(
        asked,
        timeout_s=configured_timeout_s(os.environ),
        max_time_s=configured_max_time_s(os.environ),
        max_bytes=configured_max_bytes(os.environ),
        headers=_headers(),
        progress=_progress(),
        warn=_warn,
    )


def _headers() -> dict[str, str]:
    try:
        return configured_headers(os.environ)
    except OSError as error:
        _warn(
            "no headers are sent to debuginfod servers: cannot read"
            f" {error.filename}: {error.strerror}"
        )
        return {}


def _warn(sentence: str) -> None:
    print_status(f"Warning: {in_options(sentence)}.")


def _progress() -> Progress | None:
    """Shows downloads on a terminal, a few times per second."""
    line = StatusLine()
    if not line.is_shown:
        return None
    shown = 0.0

    def show(name: str, url: str, read: int, total: int | None) -> None:
        nonlocal shown
        if total == -1:
            line.wipe()
            return
        now = time.monotonic()
        if read and now - shown < _PROGRESS_INTERVAL_S:
            return
        shown = now
        size = "" if total is None else f" of {total >> 20}"
        loaded = f", {read >> 20}{size} MiB" if read else ""
        file = os.path.basename(name) or "a file"  # noqa: PTH119 (a name of another system)
        line.show(f"pystack: downloading the debug file of {file} from {url}{loaded}")

    return show
