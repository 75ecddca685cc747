"""Reads the tables of a process: strings, frames, stacks and waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from pystack.sampling import WAIT_KINDS

from ..tables import SymbolTables
from .values import unsigned


def read_tables(
    connection: sqlite3.Connection, process: int, strings: list[str], *, has_waits: bool
) -> SymbolTables:
    """Raises ValueError or the like for damage."""
    tables = SymbolTables()
    tables.strings = strings  # Processes of one program have the same: share them.
    _read_frames(connection, process, tables)
    _read_stacks(connection, process, tables)
    _read_waits(connection, process, tables, has_waits=has_waits)
    return tables


def _read_frames(connection: sqlite3.Connection, process: int, tables: SymbolTables) -> None:
    names = ("function", "file", "module", "build_id")
    others = ("kind", "line", "first_line", "inline_depth", "name_source")
    rows = connection.execute(
        f"SELECT id, {', '.join((*names, *others))}, address FROM frame WHERE process = ? ORDER BY id",
        (process,),
    ).fetchall()
    ids, *columns, addresses = zip(*rows, strict=True) if rows else [()] * 11
    _check_sequence("frame", ids)
    for name, column in zip((*names, *others), columns, strict=True):
        getattr(tables, f"frame_{name}").extend(column)
        if name in names:
            check_below(f"string of a {name}", column, len(tables.strings))
    tables.frame_address.extend(map(unsigned, addresses))


def _read_stacks(connection: sqlite3.Connection, process: int, tables: SymbolTables) -> None:
    rows = connection.execute(
        "SELECT id, parent, frame FROM stack WHERE process = ? ORDER BY id", (process,)
    ).fetchall()
    ids, parents, frames = zip(*rows, strict=True) if rows else ((0,), (0,), (0,))
    _check_sequence("stack", ids)
    if any(parent >= id for id, parent in zip(ids[1:], parents[1:], strict=True)):
        raise ValueError("a stack comes before its callers")
    check_below("frame of a stack", frames[1:], len(tables.frame_kind))
    tables.stack_parent.extend(parents)
    tables.stack_frame.extend(frames)


def _read_waits(
    connection: sqlite3.Connection, process: int, tables: SymbolTables, *, has_waits: bool
) -> None:
    rows: list[tuple[Any, ...]] = []
    if has_waits:
        rows = connection.execute(
            "SELECT id, kind, type, name, holder FROM wait WHERE process = ? ORDER BY id",
            (process,),
        ).fetchall()
    ids, kinds, types, names, holders = zip(
        *(rows or [(0, WAIT_KINDS[0], 0, 0, None)]), strict=True
    )
    _check_sequence("wait", ids)
    for column in (types, names):
        check_below("string of a wait", column[1:], len(tables.strings))
    tables.wait_kind.extend(map(WAIT_KINDS.index, kinds))
    tables.wait_type.extend(types)
    tables.wait_name.extend(names)
    tables.wait_holder.extend(0 if holder is None else holder + 1 for holder in holders)


def _check_sequence(what: str, ids: tuple[int, ...]) -> None:
    if any(id != place for place, id in enumerate(ids)):
        raise ValueError(f"a {what} is missing")


def check_below(what: str, numbers: Iterable[int], limit: int) -> None:
    """Raises ValueError if a number is out of range. The type was checked by an array."""
    numbers = list(numbers)
    if numbers and not 0 <= min(numbers) <= max(numbers) < limit:
        raise ValueError(f"the {what} is out of range")
