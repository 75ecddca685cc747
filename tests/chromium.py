"""Chromium, which shows our pages. Debian: `apt-get install chromium`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_DRAWN = (
    "new Promise((done) => { const look = () => (flameGraph.page.work.isBusy ? setTimeout(look, 5) :"
    " requestAnimationFrame(() => requestAnimationFrame(done))); look(); })"
)


def path() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=path(), args=list(_FLAGS))


def wait_until_drawn(page: Page) -> None:
    """A flame graph page works in slices. Its picture is whole, and on the screen, when none is left."""
    page.evaluate(_DRAWN)
