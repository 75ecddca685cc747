"""Strings of the target, made safe for a terminal, and how wide they stand there.

The target may be hostile: what it calls its functions, threads and files must not move the cursor,
change colours, reverse the writing direction or fake lines of our own.
"""

from __future__ import annotations

import re

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# Controls, invisible and direction-changing characters, line separators, lone surrogates (bytes of
# file names that did not decode), and tag characters. Joiners stay: scripts and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def escape(text: str) -> str:
    r"""Printable text: `\n`, `\x1b`, `\u202e` stand for the characters themselves."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(_escape_one, text)


def display_width(text: str) -> int:
    """Columns that escaped text takes on a terminal: 2 for East Asian wide, 0 for combining."""
    if text.isascii():
        return len(text)
    import unicodedata

    width = 0
    for char in text:
        if unicodedata.east_asian_width(char) in ("W", "F"):
            width += 2
        elif unicodedata.category(char) not in ("Mn", "Me", "Cf"):
            width += 1
    return width


def quote_command(arguments: tuple[str, ...]) -> str:
    """A command line as one would type it, escaped."""
    return " ".join([escape(_quote(argument)) for argument in arguments])


def _quote(argument: str) -> str:
    if argument and not _NEEDS_QUOTES.search(argument):
        return argument
    return "'" + argument.replace("'", "'\"'\"'") + "'"


_NEEDS_QUOTES = re.compile(r"[^\w@%+=:,./-]")


def _escape_one(match: re.Match[str]) -> str:
    char = match[0]
    number = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
