"""How dumps are shown as text."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from pystack.named_tuple import NamedTuple


class TextOptions(NamedTuple):
    """Options for the text of a snapshot."""

    #: Use escape sequences of the terminal.
    color: bool = False
    #: Show threads with the same stack and state once.
    group: bool = True
    #: Do not fold repeated frames or truncate long lines and values.
    full: bool = False
    #: Include the native frames of the interpreter's internals.
    plumbing: bool = False
    #: Show all groups of tasks, not only the first ones.
    all_tasks: bool = False
    #: Show native functions with parameters and template arguments.
    signatures: bool = False
