"""What a release changes in texts: the version, and the sections of CHANGELOG.md."""

from __future__ import annotations

import re

_UNRELEASED = "## [Unreleased]\n"


class ReleaseError(Exception):
    """Something is not as a release needs it; the message says what."""


def check_version(new: str, current: str) -> None:
    """Raises ReleaseError unless `new` is three numbers and higher than `current`."""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", new):
        raise ReleaseError(f"{new} is not a version like 1.2.3")
    if _numbers(new) <= _numbers(current):
        raise ReleaseError(f"{new} is not higher than {current}")


def with_version(text: str, name: str, new: str) -> str:
    """The text with the line `NAME = "..."` changed. Raises ReleaseError unless there is exactly one."""
    changed, count = re.subn(rf'(?m)^{name} = "[^"]*"$', f'{name} = "{new}"', text)
    if count != 1:
        raise ReleaseError(f'{count} lines {name} = "...", not one')
    return changed


def notes_of_unreleased(changelog: str) -> str:
    """What is below [Unreleased]. Raises ReleaseError if that is nothing."""
    _, found, rest = changelog.partition(_UNRELEASED)
    notes = re.split(r"(?m)^## \[", rest)[0].strip()
    if not found or not re.search(r"(?m)^- ", notes):
        raise ReleaseError("CHANGELOG.md has nothing below ## [Unreleased]")
    return notes + "\n"


def released_changelog(changelog: str, version: str, date: str) -> str:
    """With a new, empty [Unreleased] above the section of this version."""
    if f"## [{version}]" in changelog:
        raise ReleaseError(f"CHANGELOG.md has a section {version} already")
    return changelog.replace(_UNRELEASED, f"{_UNRELEASED}\n## [{version}] - {date}\n", 1)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
