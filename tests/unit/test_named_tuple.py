"""Our `NamedTuple` makes the classes that the one of `typing` makes."""

from __future__ import annotations

import pickle
import typing

import pytest

if typing.TYPE_CHECKING:
    named_tuple = typing
else:
    from pystack import named_tuple


class Ours(named_tuple.NamedTuple):
    """A pair."""

    name: str
    lines: tuple[int, ...] = (1, 2)

    @property
    def first(self) -> int:
        return self.lines[0]

    @classmethod
    def make(cls, name: str) -> Ours:
        return cls(name)


class Theirs(typing.NamedTuple):
    """A pair."""

    name: str
    lines: tuple[int, ...] = (1, 2)


class Empty(named_tuple.NamedTuple):
    """No field."""


@pytest.mark.parametrize(
    "attribute",
    ["_fields", "_field_defaults", "__match_args__", "__doc__", "__module__", "__slots__"],
)
def test_attributes(attribute: str) -> None:
    assert getattr(Ours, attribute) == getattr(Theirs, attribute)


def test_instances() -> None:
    made = Ours("a")
    assert tuple(made) == tuple(Theirs("a")) == ("a", (1, 2))
    assert repr(made) == repr(Theirs("a")).replace("Theirs", "Ours")
    assert made._replace(lines=(3,)).first == 3
    assert made._asdict() == {"name": "a", "lines": (1, 2)}
    assert Ours.make("b").name == "b"
    assert pickle.loads(pickle.dumps(made)) == made
    assert len(Empty()) == 0
    assert not hasattr(made, "__dict__")


def test_names_and_types() -> None:
    assert Ours.__qualname__ == "Ours"
    assert typing.get_type_hints(Ours) == {"name": str, "lines": tuple[int, ...]}


def test_missing_and_unknown_fields() -> None:
    with pytest.raises(TypeError, match="name"):
        Ours()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="other"):
        Ours("a", other=1)  # type: ignore[call-arg]
