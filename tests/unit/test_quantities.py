from __future__ import annotations

import click
import pytest

from pystack.cli import quantities


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65_536), ("64K", 65_536), ("1M", 1 << 20), ("8MiB", 8 << 20), ("2 gb", 2 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert quantities.size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0K", "much", "-1", "1.5M", "1T", "9" * 13])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(click.BadParameter):
        quantities.size(text)
