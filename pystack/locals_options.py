"""The limits and redaction rules for variables."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from pystack._core import RawLocals
else:
    from pystack.named_tuple import NamedTuple

#: A value is hidden if its name contains one of these, because dumps end up in tickets. A bare `key`
#: or `session` is not in the list: it usually means something else.
REDACTED_NAMES = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "authorization",
    "cookie",
    "session_id",
    "api_key",
    "access_key",
    "encryption_key",
    "private_key",
    "signing_key",
)
#: A value is hidden if its name has one of these as a whole word: "author" is not "auth".
REDACTED_WORDS = ("auth", "bearer", "creds", "otp", "pw", "pwd")


class Locals(NamedTuple):
    """Limits for the values of variables. A truncated value says so in its text."""

    #: Levels of nested containers and instances.
    max_depth: int = 4
    #: Items per container, and attributes per instance.
    max_items: int = 20
    #: Characters per str, bytes per bytes object.
    max_string: int = 200
    #: Bytes to read and text to make per thread. This bounds how long the target is paused.
    max_bytes: int = 256 * 1024
    #: The value of a variable, attribute or key is not read if its name contains one of these,
    #: ignoring case. `_`, `-`, `.` and blanks match any one of these characters or none.
    redact: tuple[str, ...] = REDACTED_NAMES
    #: The same for whole words in a name: snake_case, kebab-case, camelCase.
    redact_words: tuple[str, ...] = REDACTED_WORDS
    #: Hide secrets inside strings: passwords in URLs, tokens after Bearer and Basic, and what follows
    #: such a name and `=` or `:`.
    redact_text: bool = True

    def to_raw(self) -> RawLocals:
        """Converts to the mapping of the C++ core."""
        return {
            "max_depth": self.max_depth,
            "max_items": self.max_items,
            "max_string": self.max_string,
            "max_bytes": self.max_bytes,
            "redact": list(self.redact),
            "redact_words": list(self.redact_words),
            "redact_text": self.redact_text,
        }
