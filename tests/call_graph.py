"""Which stacks a program of plain functions can have, learnt from its text."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Frame(Protocol):
    """What is asked of a frame of a dump."""

    @property
    def function(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int | None: ...
    @property
    def end_line(self) -> int | None: ...
    @property
    def column(self) -> int | None: ...
    @property
    def end_column(self) -> int | None: ...


Position = tuple[int, int, int, int]


@dataclass
class Function:
    first_line: int
    last_line: int
    is_generator: bool
    #: Functions called, by the position of the call as 3.11 and later say it: line, end line,
    #: column, end column.
    calls: dict[Position, str]
    #: Generators that may run while this function is in that line: those that it makes there.
    generators: dict[int, set[str]]


def call_graph(program: Path) -> dict[str, Function]:
    """The functions of a program between its two marks, by name."""
    text = program.read_text()
    marks = ("# -- calls --", "# -- end of calls --")
    first, last = (text[: text.index(mark)].count("\n") + 1 for mark in marks)
    definitions = [
        node
        for node in ast.parse(text).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and first < node.lineno < last
    ]
    names = {node.name for node in definitions}
    # Coroutines and asynchronous generators run as generators do: where they are awaited.
    generators = {
        node.name
        for node in definitions
        if isinstance(node, ast.AsyncFunctionDef) or contains(node, ast.Yield, ast.YieldFrom)
    }
    graph = {}
    for definition in definitions:
        function = Function(
            definition.lineno,
            definition.end_lineno or definition.lineno,
            definition.name in generators,
            {},
            {},
        )
        for node in ast.walk(definition):
            if isinstance(node, ast.Call):
                assert isinstance(node.func, ast.Name)
                assert node.func.id in names, f"line {node.lineno}: not a plain call"
                if node.func.id in generators:
                    function.generators.setdefault(node.lineno, set()).add(node.func.id)
                else:
                    function.calls[position(node)] = node.func.id
        graph[definition.name] = function
    return graph


def contains(node: ast.AST, *kinds: type[ast.AST]) -> bool:
    return any(isinstance(part, kinds) for part in ast.walk(node))


def position(node: ast.expr) -> Position:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def illegal(graph: dict[str, Function], frames: Sequence[Frame], root: str) -> str | None:
    """What is wrong with a stack, outermost first, or None if the program can have it.

    `root` is the function that does not return. What is outside of it is not looked at, but that
    it is there is.
    """
    functions = [frame.function for frame in frames]
    if root not in functions:
        return f"{root} is not on it"
    inner = frames[functions.index(root) :]
    for caller, callee in itertools.pairwise(inner):
        wrong = illegal_call(graph, caller, callee)
        if wrong is not None:
            return wrong
    leaf = inner[-1]
    function = graph[leaf.function]
    if leaf.line is None:
        # What a generator begins with belongs to no line (GEN_START of 3.10, RETURN_GENERATOR and
        # POP_TOP later): its `f_lineno` is None there too.
        return None if function.is_generator else f"{leaf.function} has no line"
    if not function.first_line <= leaf.line <= function.last_line:
        return f"{leaf.function} has no line {leaf.line}"
    return None


def illegal_call(graph: dict[str, Function], caller: Frame, callee: Frame) -> str | None:
    if callee.function not in graph:
        return f"{callee.function} is not one of the program's functions"
    function = graph[caller.function]
    where = (caller.line, caller.end_line, caller.column, caller.end_column)
    if caller.line is not None and callee.function in function.generators.get(caller.line, ()):
        return None
    if caller.column is None:  # below 3.11
        legal = {name for place, name in function.calls.items() if place[0] == caller.line}
    else:
        legal = {name for place, name in function.calls.items() if place == where}
    if callee.function in legal:
        return None
    return f"{caller.function} does not call {callee.function} at {where}"
