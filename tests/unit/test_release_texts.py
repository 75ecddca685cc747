"""What tools/release changes in texts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Last, so that pystack is the installed one.
sys.path.append(str(Path(__file__).resolve().parents[2]))
from tools.release_texts import (
    ReleaseError,
    check_version,
    notes_of_unreleased,
    released_changelog,
    with_version,
)

CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A thing.

## [0.1.0] - 2026-01-01

- The first.
"""


@pytest.mark.parametrize("wrong", ["0.1.9", "0.2.0", "0.2", "1.0.0rc1", "01.0.0", "v1.0.0"])
def test_version_must_be_higher(wrong: str) -> None:
    with pytest.raises(ReleaseError):
        check_version(wrong, "0.2.0")


def test_versions_are_compared_as_numbers() -> None:
    check_version("0.10.0", "0.9.0")


def test_one_line_has_the_version() -> None:
    assert with_version('a = "1"\nversion = "0.1.0"\n', "version", "0.2.0") == (
        'a = "1"\nversion = "0.2.0"\n'
    )
    with pytest.raises(ReleaseError):
        with_version('my_version = "0.1.0"\n', "version", "0.2.0")


def test_notes_are_those_of_the_section() -> None:
    assert notes_of_unreleased(CHANGELOG) == "### Added\n\n- A thing.\n"
    changed = released_changelog(CHANGELOG, "0.2.0", "2026-02-02")
    assert "## [Unreleased]\n\n## [0.2.0] - 2026-02-02\n\n### Added\n" in changed
    for text in (changed, "# Changelog\n"):
        with pytest.raises(ReleaseError, match="nothing below"):
            notes_of_unreleased(text)
    with pytest.raises(ReleaseError, match="already"):
        released_changelog(CHANGELOG, "0.1.0", "2026-02-02")
