"""What of a text would act on a terminal instead of being shown: judged by Unicode, not by us."""

from __future__ import annotations

import unicodedata

# Controls, lines that end, halves of surrogate pairs.
CATEGORIES = {"Cc", "Zl", "Zp", "Cs"}
# Those of the bidirectional algorithm that change the direction of what follows.
DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def raw_characters(text: str) -> list[str]:
    """The characters of one line that may not be in it."""
    return [
        character
        for character in text
        if not character.isprintable()
        and (
            unicodedata.category(character) in CATEGORIES
            or unicodedata.bidirectional(character) in DIRECTIONS
        )
    ]
