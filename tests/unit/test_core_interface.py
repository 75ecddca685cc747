"""`_core.pyi` says what the C++ core has: the counts and the numbers, which stand in C++ once."""

from __future__ import annotations

from core_stub import annotated
from pystack import _core, sampling


def members(name: str) -> dict[str, int]:
    return {
        key: value for key, value in vars(getattr(_core, name)).items() if not key.startswith("_")
    }


def test_counts_are_those_of_the_core() -> None:
    expected = {
        name: "list[int]" if merge == "histogram" else "int"
        for name, merge in _core.STATS_MERGES.items()
    }
    assert list(annotated("SamplerStats").items()) == list(expected.items())
    assert set(_core.STATS_MERGES.values()) == {"sum", "maximum", "histogram"}


def test_numbers_are_those_of_the_core() -> None:
    for name in ("SampleState", "FrameKind", "NameSource"):
        assert list(annotated(name)) == list(members(name))
        assert all(type(value) is int for value in members(name).values())
    bits = sorted(members("SampleState").values())
    assert bits == [1 << number for number in range(len(bits))]
    for name in ("FrameKind", "NameSource"):
        assert sorted(members(name).values()) == list(range(len(members(name))))


def test_the_public_types_are_those_of_the_core() -> None:
    for name in sampling.__all__:
        assert getattr(sampling, name) is getattr(_core, name)
