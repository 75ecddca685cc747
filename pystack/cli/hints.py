"""Translates hints of exceptions from API arguments to command-line options."""

from __future__ import annotations

# An API argument as hints spell it, and the option or variable that has the same effect.
_OPTIONS = {
    "block=False": "--no-block",
    "executable=...": "EXE as the second argument",
    "exhaustive=True": "--exhaustive",
    "library_root=...": "--lib-search-root DIR",
    "max_time_s=...": "DEBUGINFOD_MAXTIME",
    "max_unpacked=...": "--max-unpacked SIZE",
    "timeout_s=...": "DEBUGINFOD_TIMEOUT",
}


def in_options(hint: str) -> str:
    """Replaces the API's arguments in a hint by the command's options."""
    for argument, option in _OPTIONS.items():
        hint = hint.replace(argument, option)
    return hint
