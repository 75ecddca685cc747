from __future__ import annotations

import pytest

from pystack.cli import quantities
from pystack.cli.declare import BadValue


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65_536), ("64K", 65_536), ("1M", 1 << 20), ("8MiB", 8 << 20), ("2 gb", 2 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert quantities.size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0K", "much", "-1", "1.5M", "1T", "9" * 13])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(BadValue):
        quantities.size(text)


def test_process_ids() -> None:
    assert quantities.pid("4711") == quantities.pid("0x1267") == quantities.pid("0X1267") == 4711
    for text in ("0", "-1", "python", "0x", "1f", "9" * 17, "٣"):
        with pytest.raises(BadValue, match="not a process ID"):
            quantities.pid(text)
