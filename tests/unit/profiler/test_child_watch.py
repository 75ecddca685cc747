from __future__ import annotations

import os

import pytest

from pystack import process_facts
from pystack_profiler.child_watch import ChildWatch


def test_children_that_have_ended_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [[8, 9], [9, 10], []]
    monkeypatch.setattr(process_facts, "python_descendants", lambda _: there.pop(0))
    watch = ChildWatch(7)
    assert [watch.count(), watch.count(), watch.count()] == [2, 3, 3]


def test_the_tool_itself_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getpid()
    monkeypatch.setattr(process_facts, "python_descendants", lambda _: [8, own, own + 1])
    monkeypatch.setattr(process_facts, "descendants", lambda _: [own + 1])
    assert ChildWatch(7).count() == 1
