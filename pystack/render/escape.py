"""Makes strings of the target safe for a terminal, and measures their width there.

The target may be hostile: the names of its functions, threads and files must not move the cursor,
change colours, reverse the writing direction or imitate lines of this tool.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# The characters that a shell does not interpret, besides letters and digits.
_PLAIN = "_@%+=:,./-"
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# Controls, invisible and direction-changing characters, line separators, lone surrogates (bytes of
# file names that did not decode), and tag characters. Joiners stay: scripts and emoji need them.
# Compiled when it is first used, which most runs never do.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef]"
)


def escape(text: str) -> str:
    r"""Returns printable text: unsafe characters become `\n`, `\x1b`, `\u202e` and the like."""
    if text.isprintable():
        return text
    import re  # Takes as long as the interpreter's start.

    return re.sub(_UNSAFE, _escape_one, text)


def display_width(text: str) -> int:
    """The terminal columns of escaped text: 2 for East Asian wide, 0 for combining characters."""
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
    """A command line quoted for a shell, and escaped."""
    return " ".join([escape(_quote(argument)) for argument in arguments])


def _quote(argument: str) -> str:
    if argument and all(char.isalnum() or char in _PLAIN for char in argument):
        return argument
    return "'" + argument.replace("'", "'\"'\"'") + "'"


def _escape_one(match: re.Match[str]) -> str:
    char = match[0]
    number = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
