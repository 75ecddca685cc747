"""Opens the page of a recording as a user would, and keeps what is seen first."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Playwright

import chromium
from tools.gallery.journeys import Journey

_WIDTHS = (1500, 700)
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_HEIGHT = 900
_ROWS = 4
_FIRST_SEEN = f"""() => ({{
    base: document.getElementById('base').innerText,
    idle: document.getElementById('idle-toggle').hidden ? 'no idle time' : document.getElementById('idle-text').innerText,
    rows: [...document.querySelectorAll('#functions tbody tr')].slice(0, {_ROWS}).map((row) => row.innerText),
}})"""


@dataclass(frozen=True)
class Look:
    """What a page shows when it is opened."""

    journey: Journey
    base: str  # what 100 % is
    idle: str
    rows: list[str]  # the first ones of the table
    pictures: list[Path]
    console: list[str]  # errors and warnings of the browser

    def told(self) -> str:
        rows = "".join(f"\n    {row}" for row in self.rows)
        errors = "".join(f"\n    console: {error}" for error in self.console)
        return f"{self.journey.name}: {self.journey.cause}?\n    {self.base}; {self.idle}{rows}{errors}"


def look_at(playwright: Playwright, journey: Journey, page_file: Path) -> Look:
    browser = chromium.launch(playwright)
    console: list[str] = []
    pictures = []
    seen = {}
    for width in _WIDTHS:
        for scheme in _SCHEMES:
            page = browser.new_page(
                viewport={"width": width, "height": _HEIGHT}, color_scheme=scheme
            )
            page.on("console", lambda message: console.append(message.text))
            page.on("pageerror", lambda error: console.append(str(error)))
            page.goto(page_file.as_uri())
            chromium.wait_until_drawn(page)
            seen = page.evaluate(_FIRST_SEEN)
            picture = page_file.with_name(f"{page_file.stem}-{width}-{scheme}.png")
            page.screenshot(path=picture)
            pictures.append(picture)
            page.close()
    browser.close()
    rows = [" ".join(row.split()) for row in seen["rows"]]
    return Look(journey, seen["base"], " ".join(seen["idle"].split()), rows, pictures, console)


def write_index(looks: list[Look], path: Path) -> None:
    parts = [
        "<!DOCTYPE html><meta charset=utf-8><title>Journeys</title><body style='font-family: sans-serif'>"
    ]
    for look in looks:
        parts.append(
            f"<h2>{html.escape(look.journey.name)}</h2><pre>{html.escape(look.told())}</pre>"
        )
        parts += [f"<img src='{picture.name}' height=450> " for picture in look.pictures]
    path.write_text("\n".join(parts))
