"""What `_core.pyi` says, for tests that compare it with what describes the same elsewhere."""

from __future__ import annotations

import ast
from pathlib import Path

_CLASSES = {
    node.name: node
    for node in ast.parse((Path(__file__).parents[1] / "pystack" / "_core.pyi").read_text()).body
    if isinstance(node, ast.ClassDef)
}


def annotated(name: str) -> dict[str, str]:
    """The annotated attributes of a class in order, those of its bases first, with their annotations."""
    node = _CLASSES[name]
    fields: dict[str, str] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in _CLASSES:
            fields |= annotated(base.id)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            fields[statement.target.id] = ast.unparse(statement.annotation)
    return fields
