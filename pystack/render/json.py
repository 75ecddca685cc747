"""The JSON form. Imported only where it is asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystack.model import Snapshot


def render_json(snapshot: Snapshot) -> str:
    """One line, pure ASCII: what is not is escaped, so that no string reaches a terminal raw."""
    # JSON leaves DEL alone, the one control character of ASCII that it does.
    return json.dumps(snapshot.to_json_dict()).replace("\x7f", "\\u007f") + "\n"
