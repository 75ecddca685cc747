"""How the commands use debuginfod servers: which ones, and what is told meanwhile."""

from __future__ import annotations

import os
import sys
import time

import click

from pystack.debuginfod import (
    Debuginfod,
    Progress,
    configured_timeout_s,
    configured_urls,
    is_url,
)
from pystack.render.escape import escape

_PROGRESS_INTERVAL_S = 0.2


def debuginfod_of(urls: tuple[str, ...]) -> Debuginfod | None:
    """The servers given, else those of DEBUGINFOD_URLS; None where that has none to be asked."""
    for url in urls:
        if not is_url(url):
            raise click.UsageError(f"--debuginfod takes a URL of http or https, not {url!r}.")
    asked = list(urls) or configured_urls(os.environ)
    if not asked:
        return None
    return Debuginfod(
        asked, timeout_s=configured_timeout_s(os.environ), progress=_progress(), warn=_warn
    )


def _warn(sentence: str) -> None:
    click.echo(f"pystack: {escape(sentence)}.", err=True)


def _progress() -> Progress | None:
    """Tells what is loaded, on a terminal and not too often."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        return None
    told = 0.0

    def tell(name: str, url: str, read: int, total: int | None) -> None:
        nonlocal told
        if total == -1:
            stream.write("\r\x1b[K")
            stream.flush()
            return
        now = time.monotonic()
        if read and now - told < _PROGRESS_INTERVAL_S:
            return
        told = now
        size = "" if total is None else f" of {total >> 20}"
        loaded = f", {read >> 20}{size} MiB" if read else ""
        file = os.path.basename(name) or "a file"  # noqa: PTH119 (a name of another system)
        stream.write(f"\rpystack: debug file of {escape(file)} from {escape(url)}{loaded}\x1b[K")
        stream.flush()

    return tell
