"""`NamedTuple` for modules that every dump imports.

It makes the same classes as `typing.NamedTuple` in a fraction of the time: `typing` and what it imports take longer
than everything else of a dump, and it compiles each annotation. Type checkers see the one of `typing`:

    if TYPE_CHECKING:
        from typing import NamedTuple
    else:
        from pystack.named_tuple import NamedTuple

These modules set `TYPE_CHECKING = False` themselves, as type checkers allow.
"""

from __future__ import annotations

from collections import namedtuple

_NOT_COPIED = {"__annotations__", "__module__", "__qualname__", "__slots__", "__dict__"}


class _MakesTuple(type):
    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, object]
    ) -> _MakesTuple:
        if not bases:
            return super().__new__(cls, name, bases, namespace)
        annotations = namespace.get("__annotations__", {})
        assert isinstance(annotations, dict)
        # Fields with a default are the last.
        defaults = [namespace[field] for field in annotations if field in namespace]
        module = str(namespace["__module__"])
        made = namedtuple(name, list(annotations), defaults=defaults, module=module)  # type: ignore[misc]
        made.__annotations__ = annotations
        made.__qualname__ = str(namespace["__qualname__"])
        for key, value in namespace.items():
            if key not in annotations and key not in _NOT_COPIED:
                setattr(made, key, value)
        return made  # type: ignore[return-value]


class NamedTuple(metaclass=_MakesTuple):
    """The base of a class whose annotations are the fields."""
