"""What auditwheel says of a wheel."""

from __future__ import annotations

import re


def runs_on(audited: str, tag: str) -> bool:
    """Whether auditwheel found no more needs than this platform tag allows."""
    if tag.startswith("musllinux"):
        # auditwheel only knows musl by the name that Alpine gives to it, which others do not have.
        return re.findall(r'^ +"(lib[^"]+)": ', audited, re.MULTILINE) == ["libc.so"]
    found = re.search(r'platform\s+tag:\s+"(\w+?)_(\d+)_(\d+)_(\w+)"', audited)
    wanted = re.fullmatch(r"(\w+?)_(\d+)_(\d+)_(\w+)", tag)
    if found is None or wanted is None:
        return False
    versions = [tuple(map(int, match.group(2, 3))) for match in (found, wanted)]
    return found.group(1, 4) == wanted.group(1, 4) and versions[0] <= versions[1]
