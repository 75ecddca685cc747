"""How much of the variables of a frame is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystack._core import RawLocals

#: Parts of names whose values end up in no dump: dumps end up in tickets. Never a bare `key` or
#: `session`, which mean something else most of the time.
REDACTED_NAMES = (
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "authorization",
    "cookie",
    "api_key",
    "private_key",
)


class Locals(NamedTuple):
    """Limits for the values of arguments and local variables; what they cut says so in its place."""

    #: Containers and instances inside each other.
    max_depth: int = 4
    #: Of one container; attributes of one instance.
    max_items: int = 20
    #: Characters of a str, bytes of a bytes.
    max_string: int = 200
    #: Bytes looked at and text made for one thread: it bounds how long the target waits.
    max_bytes: int = 256 * 1024
    #: The value of a variable, attribute or key whose name holds one of these, in any case, is not
    #: looked at.
    redact: tuple[str, ...] = REDACTED_NAMES

    def to_raw(self) -> RawLocals:
        """For the C++ core."""
        return {
            "max_depth": self.max_depth,
            "max_items": self.max_items,
            "max_string": self.max_string,
            "max_bytes": self.max_bytes,
            "redact": list(self.redact),
        }
