"""Marks that several tests need."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from interpreters import required
from targets import Interpreter


def each_of(interpreters: Iterable[Interpreter]) -> pytest.MarkDecorator:
    """The test runs with each of these as `interpreter`."""
    return pytest.mark.parametrize(
        "interpreter", [pytest.param(one, id=one.name) for one in interpreters]
    )


each_interpreter = each_of(required())
